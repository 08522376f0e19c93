"""Dice losses of the crack paper as registered modules."""

from __future__ import annotations

from mmdet.registry import MODELS
from torch import Tensor

from mmdet_rank.ops.dice import bce_dice_loss, squared_dice_loss

from .mask_loss import MaskLoss, at_least_float32
from .tversky_loss import FocalTverskyLoss


@MODELS.register_module()
class BCEDiceLoss(MaskLoss):
    """Binary cross entropy plus Dice loss (Eq. 1): `ops.bce_dice_loss`.

    Args:
        reduction: "mean" over the regions, "sum" or "none".
        loss_weight: Factor of the loss.
        use_sigmoid: Must be True; heads read it from a loss's config.
        activate: Whether predictions are logits; False for heads that give probabilities.

    Example:
        >>> import torch
        >>> BCEDiceLoss()(torch.zeros(1, 1, 2), torch.tensor([[[1.0, 0.0]]]))  # log 2 + 1 / 3
        tensor(1.0265)
    """

    def values(self, logits: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
        """Loss of each region."""
        return bce_dice_loss(logits, targets, weights=weights)


@MODELS.register_module()
class BinaryDiceLoss(FocalTverskyLoss):
    """Dice loss of the sigmoid, ``1 - (2 sum(P T) + 1) / (sum(P) + sum(T) + 1)``, as in Eq. 1.

    MMDetection's own ``DiceLoss`` is the squared one, or adds a tiny number instead of 1.

    Args:
        **kwargs: ``reduction``, ``loss_weight``, ``activate``; as for `FocalTverskyLoss`.
    """

    def __init__(self, **kwargs) -> None:
        super().__init__(delta=0.5, gamma=1.0, smooth=0.5, **kwargs)


@MODELS.register_module()
class SquaredDiceLoss(MaskLoss):
    """Dice loss with squares below the line (Eq. 5): `ops.squared_dice_loss` of the sigmoid.

    Args:
        smooth: Added to both sides of the fraction.
        reduction: "mean" over the regions, "sum" or "none".
        loss_weight: Factor of the loss.
        use_sigmoid: Must be True; heads read it from a loss's config.
        activate: Whether predictions are logits; False for heads that give probabilities.
    """

    def __init__(
        self,
        smooth: float = 1.0,
        reduction: str = "mean",
        loss_weight: float = 1.0,
        use_sigmoid: bool = True,
        activate: bool = True,
    ) -> None:
        super().__init__(reduction, loss_weight, use_sigmoid, activate)
        self.options = dict(smooth=smooth)

    def values(self, logits: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
        """Loss of each region."""
        probs = at_least_float32(logits).sigmoid()
        return squared_dice_loss(probs, targets, weights=weights, **self.options)
