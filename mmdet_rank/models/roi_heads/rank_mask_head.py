"""Mask R-CNN's mask head, weighed and balanced by the ranking of its stage."""

from __future__ import annotations

from typing import Any

import torch
from mmdet.models.losses import CrossEntropyLoss
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.model import normal_init
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet_rank.criteria import RankedLosses
from mmdet_rank.losses.mask_loss import mask_errors


@MODELS.register_module()
class RankFCNMaskHead(FCNMaskHead):
    """FCNMaskHead with Dice Loss beside a ranking loss (thesis 8.4.2, 8.5.2.1).

    The mask of each positive RoI's true class has one loss. These are weighed and balanced as the
    boxes of the stage are, by the criterion of its box head: with RS Loss weighed by score, their
    mean brought to the value of the classification loss; with aLRP Loss weighed by rank and
    balanced by epoch. Layers, names and prediction are those of `FCNMaskHead`.

    Args:
        loss_mask: Config of a loss with one value per mask or per pixel: ``DiceLoss``,
            ``CrossEntropyLoss`` with ``use_sigmoid``, or one of this package's losses on masks.
        logits_std: Standard deviation of the last layer's weights before training. Dice Loss has
            no gradient where a probability is 0 or 1, so that logits must not begin large: on a
            backbone with large features (EfficientNet-Lite) 0.01. Default: `FCNMaskHead`'s own.
        **kwargs: As for `FCNMaskHead`.

    Raises:
        ValueError: If ``loss_mask`` averages over the masks by itself.
    """

    def __init__(
        self,
        *args: Any,
        loss_mask: dict = dict(type="DiceLoss"),
        logits_std: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, loss_mask=loss_mask, **kwargs)
        self.logits_std = logits_std
        if isinstance(self.loss_mask, CrossEntropyLoss) and not self.loss_mask.use_sigmoid:
            raise ValueError(
                "Expected a loss_mask with one value per mask or pixel in RankFCNMaskHead, but got "
                f"{loss_mask}; use dict(type='DiceLoss'), or CrossEntropyLoss with "
                "use_sigmoid=True and without use_mask."
            )

    def init_weights(self) -> None:
        """As `FCNMaskHead` does it, but for the last layer where ``logits_std`` is given."""
        super().init_weights()
        if self.logits_std is not None:
            normal_init(self.conv_logits, std=self.logits_std)

    def loss_and_target(
        self,
        mask_preds: Tensor,
        sampling_results: list[SamplingResult],
        batch_gt_instances: list[InstanceData],
        rcnn_train_cfg: ConfigDict,
        ranked: RankedLosses | None = None,
        chosen: Tensor | None = None,
    ) -> dict:
        """Loss of the masks of the positive RoIs; see `FCNMaskHead.loss_and_target`.

        Args:
            mask_preds: (P, C, H, W) logits, (P, 1, H, W) when class-agnostic.
            sampling_results: Of each image; P positives in all.
            batch_gt_instances: Objects of each image, with masks.
            rcnn_train_cfg: Training config of the stage.
            ranked: Losses of the stage's box head.
            chosen: (P,) places of these positives among the ranked ones. Default: all of them.

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
        errors = mask_errors(self.loss_mask, own.float(), targets)
        weights = ranked.weights if chosen is None else ranked.weights[chosen]
        losses = ranked.mask_losses(errors, mask_preds, self.loss_mask.loss_weight, weights)
        return dict(loss_mask=losses, mask_targets=targets)
