"""Focal margin loss as a registered module, and the losses that it unifies (Fig. 1)."""

from __future__ import annotations

from mmdet.registry import MODELS
from torch import Tensor

from mmdet_rank.ops.focal_margin import focal_margin_loss

from .mask_loss import ElementLoss


@MODELS.register_module()
class FocalMarginLoss(ElementLoss):
    """Focal margin loss (Eq. 11 and 12 of its paper): `ops.focal_margin_loss`.

    Args:
        margin: Distance in logits that the foreground keeps from the background; 0 gives focal
            loss.
        gamma: Attenuation; 0 gives large margin loss.
        asymmetric: Margin for the foreground only, attenuation for the background only (Eq. 11),
            or both for both (Eq. 12).
        reduction: "mean" over the elements, "sum" or "none".
        loss_weight: Factor of the loss.
        use_sigmoid: Must be True; heads read it from a loss's config.
        activate: Whether predictions are logits; False for heads that give probabilities.

    Example:
        >>> import torch
        >>> FocalMarginLoss(margin=1.0)(torch.zeros(2), torch.tensor([1.0, 0.0]))
        tensor(0.7433)
    """

    def __init__(
        self,
        margin: float = 1.0,
        gamma: float = 2.0,
        asymmetric: bool = True,
        reduction: str = "mean",
        loss_weight: float = 1.0,
        use_sigmoid: bool = True,
        activate: bool = True,
    ) -> None:
        super().__init__(reduction, loss_weight, use_sigmoid, activate)
        self.options = dict(margin=margin, gamma=gamma, asymmetric=asymmetric)

    def values(self, logits: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
        """Loss of each element."""
        return focal_margin_loss(logits, targets, **self.options)


@MODELS.register_module()
class BinaryFocalLoss(FocalMarginLoss):
    """Focal loss without class weights: both classes attenuated, no margin (Fig. 1).

    Args:
        gamma: Attenuation.
        **kwargs: As for `FocalMarginLoss`: ``reduction``, ``loss_weight``, ``activate``.
    """

    def __init__(self, gamma: float = 2.0, **kwargs) -> None:
        super().__init__(margin=0.0, gamma=gamma, asymmetric=False, **kwargs)


@MODELS.register_module()
class AsymmetricFocalLoss(FocalMarginLoss):
    """Asymmetric focal loss (Eq. 2): only the background is attenuated.

    Args:
        gamma: Attenuation; 0 gives binary cross entropy.
        **kwargs: As for `FocalMarginLoss`: ``reduction``, ``loss_weight``, ``activate``.
    """

    def __init__(self, gamma: float = 2.0, **kwargs) -> None:
        super().__init__(margin=0.0, gamma=gamma, asymmetric=True, **kwargs)


@MODELS.register_module()
class LargeMarginLoss(FocalMarginLoss):
    """Asymmetric large margin loss (Eq. 3): cross entropy whose foreground keeps a margin.

    Args:
        margin: Distance in logits; 0 gives binary cross entropy.
        **kwargs: As for `FocalMarginLoss`: ``reduction``, ``loss_weight``, ``activate``.
    """

    def __init__(self, margin: float = 1.0, **kwargs) -> None:
        super().__init__(margin=margin, gamma=0.0, asymmetric=True, **kwargs)
