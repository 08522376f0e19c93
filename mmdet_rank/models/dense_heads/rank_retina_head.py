"""RetinaNet's head, trained by a ranking loss."""

from __future__ import annotations

from mmdet.models.dense_heads import RetinaHead
from mmdet.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor

from .grid_anchor_head import RankingGridAnchorHead
from .levels import anchor_head_problem


@MODELS.register_module()
class RankRetinaHead(RankingGridAnchorHead, RetinaHead):
    """RetinaHead with RS, aLRP or AP Loss (thesis 7.4, 8.5), by IoU or ATSS assignment.

    Layers, names and prediction are those of `RetinaHead`. ``train_cfg.assigner`` may also be
    MMDetection's ``ATSSAssigner``.

    Args:
        loss_cls: Config of a ranking loss.
        loss_bbox: Config of a box loss. For those of the IoU family ``reg_decoded_bbox`` must be
            True, as it is by default here.
        reg_decoded_bbox: Whether the box loss works on decoded boxes; see `RankingAnchorHead`.
        criterion: Options of `RankingCriterion`: ``instance_weight``, ``balance``.
        **kwargs: As for `RetinaHead`.

    Raises:
        ValueError: If ``loss_bbox`` is of the IoU family and ``reg_decoded_bbox`` is False.
    """

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
