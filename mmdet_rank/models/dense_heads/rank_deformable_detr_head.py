"""Deformable DETR's head, trained by a ranking loss."""

from __future__ import annotations

from copy import copy
from typing import Any

import torch
from mmdet.models.dense_heads import DeformableDETRHead
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdet_rank.criteria import RankingCriterion, build_criterion
from mmdet_rank.criteria.localization import box_errors
from mmdet_rank.criteria.problem import BoxTask, RankingProblem, find_positives
from mmdet_rank.models.ranking_head import RankingBoxHead


@MODELS.register_module()
class RankDeformableDETRHead(RankingBoxHead, DeformableDETRHead):
    """DeformableDETRHead with RS, aLRP or AP Loss as the loss of its classification.

    Every decoder layer states a ranking problem of its own: the queries of all images of the
    batch. Hungarian matching, as usual, makes one of them per object a positive. The proposals of a
    two-stage encoder are another problem, with one class.

    The losses of boxes, L1 and IoU, keep their ratio. Their sum is weighed per query and balanced
    against the ranking loss as in the other heads, the balance being worked out on the IoU loss;
    with the balance "value" that loss equals the ranking loss, and its ``loss_weight`` says only
    how much L1 counts beside it.

    Args:
        loss_cls: Config of a ranking loss.
        loss_bbox: Config of a loss of normalised boxes (cx, cy, w, h).
        loss_iou: Config of a box loss of the IoU family.
        criterion: Options of `RankingCriterion`: ``instance_weight``, ``balance``.
        **kwargs: As for `DeformableDETRHead`.
    """

    def __init__(
        self,
        *args: Any,
        loss_bbox: dict = dict(type="L1Loss", loss_weight=5.0),
        loss_iou: dict = dict(type="GIoULoss", loss_weight=2.0),
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, loss_bbox=loss_bbox, loss_iou=loss_iou, **kwargs)

    def _build_criteria(self, options: dict | None) -> None:
        # One per layer, for a self-balance has a history; the encoder's comes last.
        self.criteria = self._criteria_of_layers(options, self.num_pred_layer)

    def _criteria_of_layers(self, options: dict | None, number: int) -> nn.ModuleList:
        return nn.ModuleList(
            build_criterion(options, self.loss_cls, self.loss_iou) for _ in range(number)
        )

    def loss_by_feat(
        self,
        all_layers_cls_scores: Tensor,
        all_layers_bbox_preds: Tensor,
        enc_cls_scores: Tensor | None,
        enc_bbox_preds: Tensor | None,
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: list[InstanceData] | None = None,
    ) -> dict[str, Tensor]:
        """Losses of all decoder layers; see `DeformableDETRHead.loss_by_feat`.

        Returns:
            ``loss_cls``, ``loss_bbox``, ``loss_iou`` and what else the criterion has to log, of
            the last layer; the losses of the others as ``d0.loss_cls`` and so on, those of the
            encoder as ``enc_loss_cls`` and so on.
        """
        outputs = list(zip(all_layers_cls_scores, all_layers_bbox_preds, strict=True))
        last = len(outputs) - 1
        losses = {}
        for i, (cls_scores, bbox_preds) in enumerate(outputs):
            of_layer = self._matched_losses(
                self.criteria[i], cls_scores, bbox_preds, batch_gt_instances, batch_img_metas
            )
            losses.update(of_layer if i == last else losses_named(f"d{i}.", of_layer))
        if enc_cls_scores is not None and enc_bbox_preds is not None:
            of_encoder = self._encoder_losses(
                enc_cls_scores, enc_bbox_preds, batch_gt_instances, batch_img_metas
            )
            losses.update(losses_named("enc_", of_encoder))
        return losses

    def _encoder_losses(
        self,
        cls_scores: Tensor,
        bbox_preds: Tensor,
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
    ) -> dict[str, Tensor]:
        # Proposals are chosen by their first logit alone, as objects of any class.
        objects = [copy(instances) for instances in batch_gt_instances]
        for instances in objects:
            instances.labels = torch.zeros_like(instances.labels)
        return self._matched_losses(
            self.criteria[-1], cls_scores[..., :1], bbox_preds, objects, batch_img_metas
        )

    def _matched_losses(
        self,
        criterion: RankingCriterion,
        cls_scores: Tensor,
        bbox_preds: Tensor,
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
    ) -> dict[str, Tensor]:
        # In single precision also under autocast: matching is worked out in NumPy.
        cls_scores, bbox_preds = cls_scores.float(), bbox_preds.float()
        labels, label_weights, targets, *_ = self.get_targets(
            list(cls_scores.detach()),
            list(bbox_preds.detach()),
            batch_gt_instances,
            batch_img_metas,
        )
        return self._query_losses(
            criterion, cls_scores, bbox_preds, labels, label_weights, targets, batch_img_metas
        )

    def _query_losses(
        self,
        criterion: RankingCriterion,
        cls_scores: Tensor,
        bbox_preds: Tensor,
        labels: list[Tensor],
        label_weights: list[Tensor],
        bbox_targets: list[Tensor],
        batch_img_metas: list[dict],
    ) -> dict[str, Tensor]:
        """Losses of queries (B, Q, C) and (B, Q, 4) whose targets are known, image by image."""
        num_queries, num_classes = cls_scores.shape[1:]
        labels, label_weights = torch.cat(labels), torch.cat(label_weights)
        # No object has a class beyond those that the logits are of.
        labels = labels.where(labels < self.num_classes, num_classes)
        positives = find_positives(labels, num_classes, label_weights)
        heights_and_widths = [meta["img_shape"][:2] for meta in batch_img_metas]
        sizes = bbox_preds.new_tensor([[w, h, w, h] for h, w in heights_and_widths])
        sizes = sizes.repeat_interleave(num_queries, dim=0)[positives]
        outputs = bbox_preds.reshape(-1, 4)[positives]
        targets = torch.cat(bbox_targets)[positives].float()
        boxes, gt_boxes = (bbox_cxcywh_to_xyxy(each) * sizes for each in (outputs, targets))
        problem = RankingProblem(
            logits=cls_scores.reshape(-1, num_classes),
            labels=labels,
            label_weights=label_weights,
            positives=positives,
            boxes=BoxTask(boxes, gt_boxes, boxes, gt_boxes, outputs=outputs),
        )
        losses = criterion(problem)
        losses["loss_iou"] = losses.pop("loss_bbox")
        # Summed over the four coordinates, as DETR does.
        errors = 4 * box_errors(self.loss_bbox, outputs, targets)
        losses["loss_bbox"] = losses.box_loss_beside(errors)
        return losses


def losses_named(prefix: str, losses: dict[str, Tensor]) -> dict[str, Tensor]:
    """Losses and balances among what a criterion has returned, with a prefix before their names."""
    kept = ("loss_", "balance_")
    return {f"{prefix}{key}": value for key, value in losses.items() if key.startswith(kept)}
