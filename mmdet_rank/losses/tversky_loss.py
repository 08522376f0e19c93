"""Tversky and focal Tversky loss as registered modules."""

from __future__ import annotations

from mmdet.registry import MODELS
from torch import Tensor

from mmdet_rank.ops.tversky import focal_tversky_loss

from .mask_loss import MaskLoss, at_least_float32


@MODELS.register_module()
class FocalTverskyLoss(MaskLoss):
    """Focal Tversky loss (Eq. 6 of the crack paper): `ops.focal_tversky_loss` of the sigmoid.

    Args:
        delta: Weight of missed foreground; 1 - delta is that of false foreground.
        gamma: Exponent, above 0.
        smooth: Smoothing term of the index.
        reduction: "mean" over the regions, "sum" or "none".
        loss_weight: Factor of the loss.
        use_sigmoid: Must be True; heads read it from a loss's config.
        activate: Whether predictions are logits; False for heads that give probabilities.

    Example:
        >>> import torch
        >>> masks = torch.zeros(3, 8, 8)
        >>> masks[:, 2:4] = 1
        >>> FocalTverskyLoss()(torch.zeros(3, 8, 8), masks)
        tensor(0.6708)
    """

    def __init__(
        self,
        delta: float = 0.7,
        gamma: float = 0.75,
        smooth: float = 1.0,
        reduction: str = "mean",
        loss_weight: float = 1.0,
        use_sigmoid: bool = True,
        activate: bool = True,
    ) -> None:
        super().__init__(reduction, loss_weight, use_sigmoid, activate)
        self.options = dict(delta=delta, gamma=gamma, smooth=smooth)

    def values(self, logits: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
        """Loss of each region."""
        probs = at_least_float32(logits).sigmoid()
        return focal_tversky_loss(probs, targets, weights=weights, **self.options)


@MODELS.register_module()
class BinaryTverskyLoss(FocalTverskyLoss):
    """Tversky loss (Eq. 4 of the crack paper), ``1 - TI``, of the sigmoid.

    MMSegmentation's own ``TverskyLoss`` is that of a softmax, over all classes.

    Args:
        delta: Weight of missed foreground; 1 - delta is that of false foreground.
        **kwargs: As for `FocalTverskyLoss`, without ``gamma``.
    """

    def __init__(self, delta: float = 0.7, **kwargs) -> None:
        super().__init__(delta=delta, gamma=1.0, **kwargs)
