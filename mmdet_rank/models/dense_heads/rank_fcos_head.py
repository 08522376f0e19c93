"""FCOS's head, trained by a ranking loss and without centerness."""

from __future__ import annotations

from typing import Any

import torch
from mmdet.models.dense_heads import FCOSHead
from mmdet.models.dense_heads.anchor_free_head import AnchorFreeHead
from mmdet.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdet_rank.models.ranking_head import RankingHeadWithoutCenterness

from .levels import flatten_maps
from .points import point_problem, repeat_over_images


@MODELS.register_module()
class RankFCOSHead(RankingHeadWithoutCenterness, FCOSHead):
    """FCOSHead with RS, aLRP or AP Loss and no auxiliary head.

    As in `RankATSSHead` the classifier takes over what centerness is for, and the branch is gone,
    its parameters too. All other layers have the names of `FCOSHead`.

    Args:
        loss_cls: Config of a ranking loss.
        loss_bbox: Config of a box loss of the IoU family.
        criterion: Options of `RankingCriterion`: ``instance_weight``, ``balance``.
        **kwargs: As for `FCOSHead`; ``centerness_on_reg`` has no effect.

    Raises:
        ValueError: If ``loss_centerness`` is given.
    """

    def _init_layers(self) -> None:
        super()._init_layers()
        del self.conv_centerness

    def forward_single(self, x: Tensor, scale: nn.Module, stride: int) -> tuple[Tensor, Tensor]:
        """Logits (B, classes, H, W) and distances (B, 4, H, W) of a level.

        Distances are in strides with ``norm_on_bbox``, and otherwise the logarithms of pixels, in
        training and in testing alike: an RPN predicts with what it was trained on.
        """
        cls_score, bbox_pred, _, _ = AnchorFreeHead.forward_single(self, x)
        bbox_pred = scale(bbox_pred).float()
        return cls_score, bbox_pred.clamp(min=0) if self.norm_on_bbox else bbox_pred

    def predict_by_feat(
        self, cls_scores: list[Tensor], bbox_preds: list[Tensor], *args: Any, **kwargs: Any
    ) -> list[InstanceData]:
        """Boxes of all images, from what `forward` gives; see `FCOSHead.predict_by_feat`."""
        distances = [
            level * stride if self.norm_on_bbox else level.exp()
            for level, stride in zip(bbox_preds, self.strides, strict=True)
        ]
        return super().predict_by_feat(cls_scores, distances, *args, **kwargs)

    def loss_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: list[InstanceData] | None = None,
    ) -> dict:
        """Losses of all levels and images at once; see `FCOSHead.loss_by_feat`."""
        sizes = [level.shape[-2:] for level in cls_scores]
        points = self.prior_generator.grid_priors(sizes, device=cls_scores[0].device)
        labels, targets = self.get_targets(points, batch_gt_instances)
        outputs, targets = flatten_maps(bbox_preds, 4), torch.cat(targets)
        if self.norm_on_bbox:
            strides = [
                level.new_full((len(level), 1), float(stride))
                for level, stride in zip(points, self.strides, strict=True)
            ]
            strides = repeat_over_images(strides, len(batch_img_metas))
            distances, targets = outputs * strides, targets * strides
        else:
            distances = outputs.exp()
        return self.criterion(
            point_problem(
                flatten_maps(cls_scores, self.num_classes),
                outputs,
                distances,
                repeat_over_images(points, len(batch_img_metas)),
                torch.cat(labels),
                targets,
                targets,
            )
        )
