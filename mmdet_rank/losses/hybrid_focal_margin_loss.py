"""Hybrid focal margin loss as a registered module, and hybrid focal loss."""

from __future__ import annotations

from mmdet.registry import MODELS
from torch import Tensor

from mmdet_rank.ops.hybrid_focal_margin import hybrid_focal_margin_loss

from .mask_loss import MaskLoss


@MODELS.register_module()
class HybridFocalMarginLoss(MaskLoss):
    """Hybrid focal margin loss (Eq. 13, 14 of its paper): `ops.hybrid_focal_margin_loss`.

    Args:
        margin: As for `FocalMarginLoss`; 0 gives hybrid focal loss (Eq. 15).
        focusing: Attenuation of the focal margin loss (gamma with a hat).
        delta: Weight of missed foreground in the Tversky index; 1 - delta is that of false
            foreground.
        gamma: Exponent of the focal Tversky loss.
        smooth: Smoothing term of the Tversky index.
        asymmetric: As for `FocalMarginLoss`.
        balance: Lambda of Eq. 13, in [0, 1]. Default: the plain sum (Eq. 14).
        reduction: "mean" over the regions, "sum" or "none".
        loss_weight: Factor of the loss.
        use_sigmoid: Must be True; heads read it from a loss's config.
        activate: Whether predictions are logits; False for heads that give probabilities.

    Example:
        >>> import torch
        >>> masks = torch.zeros(3, 8, 8)
        >>> masks[:, 2:4] = 1
        >>> HybridFocalMarginLoss(margin=1.0)(torch.zeros(3, 8, 8), masks)
        tensor(1.1290)
    """

    def __init__(
        self,
        margin: float = 1.0,
        focusing: float = 2.0,
        delta: float = 0.7,
        gamma: float = 0.75,
        smooth: float = 1.0,
        asymmetric: bool = True,
        balance: float | None = None,
        reduction: str = "mean",
        loss_weight: float = 1.0,
        use_sigmoid: bool = True,
        activate: bool = True,
    ) -> None:
        super().__init__(reduction, loss_weight, use_sigmoid, activate)
        self.options = dict(
            margin=margin,
            focusing=focusing,
            delta=delta,
            gamma=gamma,
            smooth=smooth,
            asymmetric=asymmetric,
            balance=balance,
        )

    def values(self, logits: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
        """Loss of each region."""
        return hybrid_focal_margin_loss(logits, targets, weights=weights, **self.options)


@MODELS.register_module()
class HybridFocalLoss(HybridFocalMarginLoss):
    """Hybrid focal loss (Eq. 15): asymmetric focal loss plus focal Tversky loss, no margin.

    Args:
        **kwargs: As for `HybridFocalMarginLoss`, without ``margin``.
    """

    def __init__(self, **kwargs) -> None:
        super().__init__(margin=0.0, **kwargs)
