"""Soft mean IoU as a registered loss."""

from __future__ import annotations

from mmdet.registry import MODELS
from torch import Tensor

from mmdet_rank.ops.mean_iou import mean_iou_loss

from .mask_loss import MaskLoss, at_least_float32


@MODELS.register_module()
class MeanIoULoss(MaskLoss):
    """1 - soft mean IoU: `ops.mean_iou_loss` of the sigmoid.

    Args:
        background: Average over foreground and background of each mask, or the foreground alone.
        smooth: Added to both sides of each fraction.
        reduction: "mean" over the regions, "sum" or "none".
        loss_weight: Factor of the loss.
        use_sigmoid: Must be True; heads read it from a loss's config.
        activate: Whether predictions are logits; False for heads that give probabilities.

    Example:
        >>> import torch
        >>> MeanIoULoss()(torch.zeros(1, 1, 2), torch.tensor([[[1.0, 0.0]]]))  # 1 - 1.5 / 2.5
        tensor(0.4000)
    """

    def __init__(
        self,
        background: bool = True,
        smooth: float = 1.0,
        reduction: str = "mean",
        loss_weight: float = 1.0,
        use_sigmoid: bool = True,
        activate: bool = True,
    ) -> None:
        super().__init__(reduction, loss_weight, use_sigmoid, activate)
        self.options = dict(background=background, smooth=smooth)

    def values(self, logits: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
        """Loss of each region."""
        probs = at_least_float32(logits).sigmoid()
        return mean_iou_loss(probs, targets, weights=weights, **self.options)
