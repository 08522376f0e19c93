"""DINO's head, trained by a ranking loss."""

from __future__ import annotations

from mmdet.models.dense_heads import DINOHead
from mmdet.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor

from .rank_deformable_detr_head import RankDeformableDETRHead, losses_named


@MODELS.register_module()
class RankDINOHead(RankDeformableDETRHead, DINOHead):
    """DINOHead with RS, aLRP or AP Loss as the loss of its classification.

    As in `RankDeformableDETRHead`, every decoder layer states a ranking problem. The denoising
    queries of a layer state another: those made from an object are its positives, those made to
    miss it the negatives. The encoder's proposals are matched to the objects with their classes.

    Args:
        criterion: Options of `RankingCriterion`: ``instance_weight``, ``balance``.
        **kwargs: As for `RankDeformableDETRHead` and `DINOHead`.
    """

    def _build_criteria(self, options: dict | None) -> None:
        super()._build_criteria(options)
        num_decoder_layers = self.num_pred_layer - int(self.as_two_stage)
        self.dn_criteria = self._criteria_of_layers(options, num_decoder_layers)

    def loss_by_feat(
        self,
        all_layers_cls_scores: Tensor,
        all_layers_bbox_preds: Tensor,
        enc_cls_scores: Tensor | None,
        enc_bbox_preds: Tensor | None,
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        dn_meta: dict[str, int],
        batch_gt_instances_ignore: list[InstanceData] | None = None,
    ) -> dict[str, Tensor]:
        """Losses of all decoder layers; see `DINOHead.loss_by_feat`.

        Returns:
            As `RankDeformableDETRHead.loss_by_feat`, and the losses of the denoising queries as
            ``dn_loss_cls``, ``d0.dn_loss_cls`` and so on.
        """
        logits, boxes, dn_logits, dn_boxes = self.split_outputs(
            all_layers_cls_scores, all_layers_bbox_preds, dn_meta
        )
        losses = super().loss_by_feat(
            logits, boxes, enc_cls_scores, enc_bbox_preds, batch_gt_instances, batch_img_metas
        )
        labels, label_weights, targets, *_ = self.get_dn_targets(
            batch_gt_instances, batch_img_metas, dn_meta
        )
        last = len(dn_logits) - 1
        for i, (cls_scores, bbox_preds) in enumerate(zip(dn_logits, dn_boxes, strict=True)):
            of_layer = self._query_losses(
                self.dn_criteria[i],
                cls_scores.float(),
                bbox_preds.float(),
                labels,
                label_weights,
                targets,
                batch_img_metas,
            )
            losses.update(losses_named("dn_" if i == last else f"d{i}.dn_", of_layer))
        return losses

    def _encoder_losses(
        self,
        cls_scores: Tensor,
        bbox_preds: Tensor,
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
    ) -> dict[str, Tensor]:
        return self._matched_losses(
            self.criteria[-1], cls_scores, bbox_preds, batch_gt_instances, batch_img_metas
        )
