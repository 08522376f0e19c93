"""YOLOv8's head for instance segmentation: mask coefficients beside classes and boxes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmdet.models.utils import filter_scores_and_topk
from mmdet.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdet_rank.criteria import RankedLosses
from mmdet_rank.models.layers.c2f import ACT_CFG, INIT_CFG, NORM_CFG

from .rank_yolov8_head import RankYOLOv8Head
from .ranked_positives import RankedPositives
from .yolov8_head import YOLOv8Head
from .yolov8_head_module import prediction_branch


@MODELS.register_module()
class YOLOv8SegHead(YOLOv8Head):
    """`YOLOv8Head` with a third branch: coefficients of the prototypes of a `YOLOv8Protonet`.

    Args:
        num_classes: Number of classes.
        in_channels: Channels of each level, the finest first.
        num_protos: Number of prototypes.
        norm_cfg: Config of the normalisation.
        act_cfg: Config of the activation.
        **kwargs: As for `YOLOv8Head`.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int],
        num_protos: int = 32,
        norm_cfg: dict = NORM_CFG,
        act_cfg: dict = ACT_CFG,
        **kwargs,
    ) -> None:
        super().__init__(num_classes, in_channels, norm_cfg=norm_cfg, act_cfg=act_cfg, **kwargs)
        self.init_cfg = self.init_cfg or INIT_CFG
        self.num_protos = num_protos
        channels = max(in_channels[0] // 4, num_protos)
        self.coeff_preds = nn.ModuleList(
            prediction_branch(level, channels, num_protos, norm_cfg, act_cfg)
            for level in in_channels
        )

    def forward(self, x: tuple[Tensor, ...]) -> tuple[list[Tensor], ...]:
        """The outputs of `YOLOv8Head`, and per level coefficients (B, protos, H, W)."""
        coeffs = [branch(level) for level, branch in zip(x, self.coeff_preds, strict=True)]
        return (*super().forward(x), coeffs)

    def loss_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        bbox_dists: list[Tensor],
        coeff_preds: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: list[InstanceData] | None = None,
    ) -> dict[str, Tensor]:
        """Losses of classes and boxes; keeps the positives for the masks' loss."""
        outputs = self.dense_outputs(cls_scores, bbox_preds, bbox_dists)
        targets = self.assign(outputs, batch_gt_instances)
        losses = self.dense_losses(outputs, targets)
        coeffs = _as_rows(coeff_preds)
        positives = []
        for image in range(len(coeffs)):
            places = (targets.gt_inds[image] >= 0).nonzero().squeeze(1)
            positives.append(
                InstanceData(
                    pos_inds=places,
                    pos_assigned_gt_inds=targets.gt_inds[image, places],
                    bboxes=targets.boxes[image, places],
                    coeffs=coeffs[image, places],
                    weights=coeffs.new_ones(len(places)),
                )
            )
        self._raw_positive_infos["positives"] = self.finished_positives(positives, losses)
        return losses

    def finished_positives(
        self, positives: list[InstanceData], losses: dict[str, Tensor]
    ) -> list[InstanceData]:
        """The mask head's input: the positives of each image."""
        return positives

    def get_positive_infos(self) -> list[InstanceData]:
        """Positives of each image of the last batch, for the mask head."""
        return self._raw_positive_infos["positives"]

    def predict_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        bbox_dists: list[Tensor],
        coeff_preds: list[Tensor],
        batch_img_metas: list[dict],
        cfg: dict | None = None,
        rescale: bool = False,
        with_nms: bool = True,
    ) -> list[InstanceData]:
        """Detections of each image with their ``coeffs``; see `YOLOv8Head.predict_by_feat`."""
        cfg = (self.test_cfg if cfg is None else cfg) or {}
        outputs = self.dense_outputs(cls_scores, bbox_preds, bbox_dists)
        scores = outputs.logits.to(outputs.boxes.dtype).sigmoid()
        found = []
        for own_scores, own_boxes, own_coeffs, img_meta in zip(
            scores, outputs.boxes, _as_rows(coeff_preds), batch_img_metas, strict=True
        ):
            best, labels, _, kept = filter_scores_and_topk(
                own_scores,
                cfg.get("score_thr", 0),
                cfg.get("nms_pre", own_scores.numel()),
                dict(bboxes=own_boxes, coeffs=own_coeffs.to(own_boxes.dtype)),
            )
            results = InstanceData(scores=best, labels=labels, **kept)
            found.append(self._bbox_post_process(results, cfg, rescale, with_nms, img_meta))
        return found


@MODELS.register_module()
class RankYOLOv8SegHead(YOLOv8SegHead, RankYOLOv8Head):
    """`YOLOv8SegHead` with RS, aLRP or AP Loss, as in `RankYOLOv8Head`.

    The mask head beside it, a `RankYOLOv8Protonet`, weighs masks by the instance weights of this
    head and balances their loss against its classification loss, as YOLACT's does.

    Args:
        *args: As for `YOLOv8SegHead`.
        **kwargs: As for `YOLOv8SegHead` and `RankYOLOv8Head`; the options of ``criterion`` are
            those of masks too.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.criterion.add_task("mask")

    def finished_positives(
        self, positives: list[InstanceData], losses: RankedLosses
    ) -> RankedPositives:
        """The positives of each image with their weights, and the ranking that balances them."""
        counts = [len(own.pos_inds) for own in positives]
        for own, weights in zip(positives, losses.weights.split(counts), strict=True):
            own.weights = weights
        return RankedPositives(positives, losses)


def _as_rows(maps: list[Tensor]) -> Tensor:
    """Maps of all levels (B, channels, H, W) as (B, A, channels)."""
    return torch.cat([level.flatten(2).transpose(1, 2) for level in maps], dim=1)
