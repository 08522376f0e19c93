"""Mask R-CNN's mask head, weighed and balanced by the ranking of its stage."""

from __future__ import annotations

import torch
from mmdet.models.losses import CrossEntropyLoss
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet_rank.criteria.localization_task import LocalizationTask

from .ranked_rois import RankedRoIs


@MODELS.register_module()
class RankFCNMaskHead(FCNMaskHead):
    """FCNMaskHead with Dice Loss beside a ranking loss (thesis 8.4.2, 8.5.2.1).

    The mask of each positive RoI's true class has one loss. These are weighed as the boxes of the
    stage are (by classification score with RS Loss), and their mean is balanced against the
    classification loss of the stage. Layers, names and prediction are those of `FCNMaskHead`.

    Args:
        loss_mask: Config of a loss with one value per mask or per pixel: ``DiceLoss``, or
            ``CrossEntropyLoss`` with ``use_sigmoid``.
        balance: "value", "magnitude", "epoch" or "constant", or a dict of the ``type`` and its
            options; as for `RankingCriterion`.
        sync: Normalise the weights over all processes.
        **kwargs: As for `FCNMaskHead`.

    Raises:
        ValueError: If ``loss_mask`` averages over the masks by itself.
    """

    def __init__(
        self,
        *args,
        loss_mask: dict = dict(type="DiceLoss"),
        balance: str | dict = "value",
        sync: bool = False,
        **kwargs,
    ) -> None:
        super().__init__(*args, loss_mask=loss_mask, **kwargs)
        if isinstance(self.loss_mask, CrossEntropyLoss) and not self.loss_mask.use_sigmoid:
            raise ValueError(
                "Expected a loss_mask with one value per mask or pixel in RankFCNMaskHead, but got "
                f"{loss_mask}; use dict(type='DiceLoss'), or CrossEntropyLoss with "
                "use_sigmoid=True and without use_mask."
            )
        self.task = LocalizationTask(balance, sync)

    def loss_and_target(
        self,
        mask_preds: Tensor,
        sampling_results: list[SamplingResult],
        batch_gt_instances: list[InstanceData],
        rcnn_train_cfg: ConfigDict,
        ranked: RankedRoIs | None = None,
    ) -> dict:
        """Loss of the masks of the positive RoIs; see `FCNMaskHead.loss_and_target`.

        Args:
            mask_preds: (P, C, H, W) logits, (P, 1, H, W) when class-agnostic.
            sampling_results: Of each image; P positives in all.
            batch_gt_instances: Objects of each image, with masks.
            rcnn_train_cfg: Training config of the stage.
            ranked: What the box head of the stage knows of the positives.

        Returns:
            ``loss_mask``: a dict of ``loss_mask`` and its factor ``balance_mask``;
            ``mask_targets``: (P, H, W).

        Raises:
            TypeError: Without ``ranked``.
        """
        if ranked is None:
            raise TypeError(
                "Expected RankFCNMaskHead in a RankStandardRoIHead or RankCascadeRoIHead, which "
                "know the ranking of the boxes, but got another RoI head; change its type."
            )
        targets = self.get_targets(sampling_results, batch_gt_instances, rcnn_train_cfg)
        if self.class_agnostic:
            own = mask_preds.squeeze(1)
        else:
            labels = torch.cat([result.pos_gt_labels for result in sampling_results])
            own = mask_preds[torch.arange(len(labels), device=labels.device), labels]
        errors = self.loss_mask(
            own.float().flatten(1), targets.flatten(1), reduction_override="none"
        )
        if errors.dim() > 1:
            errors = errors.mean(dim=1)
        loss, factor = self.task(
            errors, ranked.weights, ranked.cls_loss, ranked.logits, outputs=mask_preds
        )
        losses = dict(loss_mask=loss, balance_mask=factor)
        return dict(loss_mask=losses, mask_targets=targets)
