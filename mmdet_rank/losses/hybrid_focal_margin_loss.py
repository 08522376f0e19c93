"""Hybrid focal margin loss as a registered module."""

from __future__ import annotations

from mmdet.registry import MODELS
from torch import Tensor, nn

from mmdet_rank.ops.hybrid_focal_margin import hybrid_focal_margin_loss

from .binary_targets import binary_targets, refuse_softmax
from .reduction import loss_reduction, reduced


@MODELS.register_module()
class HybridFocalMarginLoss(nn.Module):
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
    ) -> None:
        super().__init__()
        refuse_softmax("HybridFocalMarginLoss", use_sigmoid)
        self.use_sigmoid = use_sigmoid
        self.options = dict(
            margin=margin,
            focusing=focusing,
            delta=delta,
            gamma=gamma,
            smooth=smooth,
            asymmetric=asymmetric,
            balance=balance,
        )
        self.reduction = loss_reduction(reduction)
        self.loss_weight = loss_weight

    def extra_repr(self) -> str:
        """Options, as printed with a model."""
        return ", ".join(f"{name}={value}" for name, value in self.options.items())

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """MMDetection's call form.

        Args:
            pred: Logits: masks (n, H, W) or (B, C, H, W), or samples (N,) or (N, C).
            target: The shape of ``pred``, in [0, 1]; or (N,) integer classes for (N, C).
            weight: Of the shape of ``pred``: weights of the elements, 0 for ignored ones. Or one
                per mask: (n,), (B, C).
            avg_factor: What the sum over the regions is divided by instead of their number.
            reduction_override: Instead of the module's reduction.

        Returns:
            Scalar, or one loss per region for "none".

        Raises:
            ValueError: If shapes do not fit.
        """
        reduction = loss_reduction(self.reduction, reduction_override)
        elements = regions = None
        if weight is not None:
            if pred.dim() >= 3 and weight.shape == pred.shape[:-2]:
                regions = weight
            elif weight.shape == pred.shape:
                elements = weight
            elif pred.dim() == 2 and weight.shape == pred.shape[:1]:
                elements = weight[:, None].expand_as(pred)
            else:
                raise ValueError(
                    f"Expected weights of the shape of the logits {tuple(pred.shape)} or one per "
                    f"mask in HybridFocalMarginLoss, but got {tuple(weight.shape)}."
                )
        loss = hybrid_focal_margin_loss(
            pred, binary_targets(pred, target), weights=elements, **self.options
        )
        return self.loss_weight * reduced(loss, regions, reduction, avg_factor)
