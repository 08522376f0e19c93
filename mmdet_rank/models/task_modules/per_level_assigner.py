"""ATSS assignment for heads that do not pass their levels on when they assign."""

from __future__ import annotations

from mmdet.models.task_modules.assigners import AssignResult, ATSSAssigner, BaseAssigner
from mmengine.structures import InstanceData


class PerLevelAssigner(BaseAssigner):
    """Gives ATSSAssigner the call form of all other assigners.

    ATSS takes candidates level by level, so that its ``assign`` asks for the number of priors per
    level, which `AnchorHead` does not pass. A head sets `num_level_priors` before it assigns.

    Args:
        assigner: MMDetection's ATSS assigner.
    """

    def __init__(self, assigner: ATSSAssigner) -> None:
        self.assigner = assigner
        #: Priors per level of the image that is assigned next, those outside it left out.
        self.num_level_priors: list[int] = []

    def assign(
        self,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        gt_instances_ignore: InstanceData | None = None,
        **kwargs,
    ) -> AssignResult:
        """Assign objects to priors; see `ATSSAssigner.assign`."""
        return self.assigner.assign(
            pred_instances, self.num_level_priors, gt_instances, gt_instances_ignore, **kwargs
        )
