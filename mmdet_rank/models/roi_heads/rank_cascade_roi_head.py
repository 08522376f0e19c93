"""Cascade R-CNN's stages without sampling."""

from __future__ import annotations

from mmdet.models.roi_heads import CascadeRoIHead
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox2roi
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet_rank.models.task_modules.every_proposal_sampler import without_sampler

from .ranked_masks import MAX_MASKS, prepare_box_head, ranked_mask_loss


@MODELS.register_module()
class RankCascadeRoIHead(CascadeRoIHead):
    """CascadeRoIHead for `RankShared2FCBBoxHead` and `RankFCNMaskHead` (thesis 8.5.1.1).

    Unless the config of a stage names a sampler, every RoI of it is ranked, and the objects'
    boxes with them. The RoIs of all images are one ranking problem per stage.

    Args:
        max_masks: How many masks are trained at most per process, stage and iteration, a random
            choice of the positive RoIs; None for all.
        **kwargs: As for `CascadeRoIHead`.

    Raises:
        TypeError: If a box head does not rank.
    """

    def __init__(self, *args, max_masks: int | None = MAX_MASKS, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.max_masks = max_masks
        for bbox_head in self.bbox_head:
            prepare_box_head(bbox_head, self)

    def init_assigner_sampler(self) -> None:
        """See `CascadeRoIHead`; without a sampler in the config, everything is taken."""
        if self.train_cfg is not None:
            self.train_cfg = [without_sampler(stage) for stage in self.train_cfg]
        super().init_assigner_sampler()

    def mask_loss(
        self,
        stage: int,
        x: tuple[Tensor],
        sampling_results: list[SamplingResult],
        batch_gt_instances: list[InstanceData],
    ) -> dict:
        """Predict a stage's masks and compute their losses; see `CascadeRoIHead.mask_loss`."""

        def forward(kept: list[SamplingResult], places: Tensor) -> dict:
            return self._mask_forward(stage, x, bbox2roi([result.pos_priors for result in kept]))

        return ranked_mask_loss(
            self.bbox_head[stage],
            self.mask_head[stage],
            forward,
            sampling_results,
            batch_gt_instances,
            self.train_cfg[stage],
            self.max_masks,
        )
