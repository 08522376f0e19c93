"""RetinaNet's head, trained by a ranking loss."""

from __future__ import annotations

from typing import Any

from mmdet.models.dense_heads import RetinaHead
from mmdet.models.task_modules.assigners import ATSSAssigner
from mmdet.models.task_modules.prior_generators import anchor_inside_flags
from mmdet.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet_rank.models.ranking_head import RankingAnchorHead
from mmdet_rank.models.task_modules import PerLevelAssigner

from .levels import anchor_head_problem


@MODELS.register_module()
class RankRetinaHead(RankingAnchorHead, RetinaHead):
    """RetinaHead with RS, aLRP or AP Loss (thesis 7.4, 8.5), by IoU or ATSS assignment.

    Layers, names and prediction are those of `RetinaHead`. ``train_cfg.assigner`` may also be
    MMDetection's ``ATSSAssigner``.

    Args:
        loss_cls: Config of a ranking loss.
        loss_bbox: Config of a box loss. For those of the IoU family ``reg_decoded_bbox`` must be
            True, as it is by default here.
        reg_decoded_bbox: Whether the box loss works on decoded boxes.
        criterion: Options of `RankingCriterion`: ``instance_weight``, ``balance``.
        **kwargs: As for `RetinaHead`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if isinstance(getattr(self, "assigner", None), ATSSAssigner):
            self.assigner = PerLevelAssigner(self.assigner)
        self._num_level_anchors: list[int] = []

    def get_targets(self, anchor_list: list, valid_flag_list: list, *args, **kwargs) -> tuple:
        """See `AnchorHead.get_targets`; notes the levels for ATSS assignment."""
        self._num_level_anchors = [len(anchors) for anchors in anchor_list[0]]
        return super().get_targets(anchor_list, valid_flag_list, *args, **kwargs)

    def _get_targets_single(
        self,
        flat_anchors: Tensor,
        valid_flags: Tensor,
        gt_instances: InstanceData,
        img_meta: dict,
        *args,
        **kwargs,
    ) -> tuple:
        if isinstance(self.assigner, PerLevelAssigner):
            inside = anchor_inside_flags(
                flat_anchors,
                valid_flags,
                img_meta["img_shape"][:2],
                self.train_cfg["allowed_border"],
            )
            self.assigner.num_level_priors = [
                int(level.sum()) for level in inside.split(self._num_level_anchors)
            ]
        return super()._get_targets_single(
            flat_anchors, valid_flags, gt_instances, img_meta, *args, **kwargs
        )

    def loss_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: list[InstanceData] | None = None,
    ) -> dict:
        """Losses of all levels and images at once; see `AnchorHead.loss_by_feat`."""
        return self.criterion(
            anchor_head_problem(
                self,
                cls_scores,
                bbox_preds,
                batch_gt_instances,
                batch_img_metas,
                batch_gt_instances_ignore,
            )
        )
