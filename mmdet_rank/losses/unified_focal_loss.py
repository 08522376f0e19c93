"""Asymmetric unified focal loss as a registered module."""

from __future__ import annotations

from mmdet.registry import MODELS
from torch import Tensor

from mmdet_rank.ops.unified_focal import unified_focal_loss

from .mask_loss import MaskLoss


@MODELS.register_module()
class UnifiedFocalLoss(MaskLoss):
    """Asymmetric unified focal loss (Eq. 10 of the crack paper): `ops.unified_focal_loss`.

    Args:
        delta: Weight of the foreground, of its pixels and in the Tversky indices.
        gamma: Attenuation of the background and enhancement of the foreground, in [0, 1).
        balance: Lambda, in [0, 1].
        smooth: Smoothing term of the Tversky indices.
        reduction: "mean" over the regions, "sum" or "none".
        loss_weight: Factor of the loss.
        use_sigmoid: Must be True; heads read it from a loss's config.
        activate: Whether predictions are logits; False for heads that give probabilities.

    Example:
        >>> import torch
        >>> UnifiedFocalLoss()(torch.zeros(1, 1, 2), torch.tensor([[[1.0, 0.0]]]))
        tensor(0.5280)
    """

    def __init__(
        self,
        delta: float = 0.6,
        gamma: float = 0.5,
        balance: float = 0.5,
        smooth: float = 1.0,
        reduction: str = "mean",
        loss_weight: float = 1.0,
        use_sigmoid: bool = True,
        activate: bool = True,
    ) -> None:
        super().__init__(reduction, loss_weight, use_sigmoid, activate)
        self.options = dict(delta=delta, gamma=gamma, balance=balance, smooth=smooth)

    def values(self, logits: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
        """Loss of each region."""
        return unified_focal_loss(logits, targets, weights=weights, **self.options)
