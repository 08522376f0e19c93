"""ATSS's head, trained by a ranking loss and without centerness."""

from __future__ import annotations

from typing import Any

from mmdet.models.dense_heads import ATSSHead
from mmdet.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdet_rank.models.ranking_head import RankingHeadWithoutCenterness, check_loss_on_boxes

from .levels import anchor_problem


@MODELS.register_module()
class RankATSSHead(RankingHeadWithoutCenterness, ATSSHead):
    """ATSSHead with RS, aLRP or AP Loss and no auxiliary head (thesis 8.4.2).

    The classifier learns the localisation quality by its labels (RS Loss) or by the ranking
    (aLRP Loss), so that the centerness branch is gone, its parameters too. All other layers have
    the names of `ATSSHead`.

    Args:
        loss_cls: Config of a ranking loss.
        loss_bbox: Config of a box loss.
        criterion: Options of `RankingCriterion`: ``instance_weight``, ``balance``.
        **kwargs: As for `ATSSHead`.

    Raises:
        ValueError: If ``loss_centerness`` is given, or if ``loss_bbox`` is of the IoU family and
            ``reg_decoded_bbox`` is False.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        check_loss_on_boxes(self)

    def _init_layers(self) -> None:
        super()._init_layers()
        del self.atss_centerness

    def forward_single(self, x: Tensor, scale: nn.Module) -> tuple[Tensor, Tensor]:
        """Logits (B, priors * classes, H, W) and box outputs (B, priors * 4, H, W) of a level."""
        cls_feat = reg_feat = x
        for cls_conv, reg_conv in zip(self.cls_convs, self.reg_convs, strict=True):
            cls_feat, reg_feat = cls_conv(cls_feat), reg_conv(reg_feat)
        return self.atss_cls(cls_feat), scale(self.atss_reg(reg_feat)).float()

    def loss_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: list[InstanceData] | None = None,
    ) -> dict:
        """Losses of all levels and images at once; see `ATSSHead.loss_by_feat`."""
        sizes = [level.shape[-2:] for level in cls_scores]
        anchors, flags = self.get_anchors(sizes, batch_img_metas, device=cls_scores[0].device)
        anchors, labels, label_weights, bbox_targets, _, _ = self.get_targets(
            anchors, flags, batch_gt_instances, batch_img_metas, batch_gt_instances_ignore
        )
        return self.criterion(
            anchor_problem(
                cls_scores,
                bbox_preds,
                anchors,
                labels,
                label_weights,
                bbox_targets,
                num_classes=self.num_classes,
                bbox_coder=self.bbox_coder,
                decoded=self.reg_decoded_bbox,
            )
        )
