"""Focal margin loss as a registered module."""

from __future__ import annotations

from mmdet.registry import MODELS
from torch import Tensor, nn

from mmdet_rank.ops.focal_margin import focal_margin_loss

from .binary_targets import binary_targets, refuse_softmax
from .reduction import loss_reduction, reduced


@MODELS.register_module()
class FocalMarginLoss(nn.Module):
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
    ) -> None:
        super().__init__()
        refuse_softmax("FocalMarginLoss", use_sigmoid)
        self.use_sigmoid = use_sigmoid
        self.margin = margin
        self.gamma = gamma
        self.asymmetric = asymmetric
        self.reduction = loss_reduction(reduction)
        self.loss_weight = loss_weight

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
            pred: Logits of any shape; (N, C) with class labels.
            target: The shape of ``pred``, in [0, 1]; or (N,) integer classes, outside of 0..C-1
                for background.
            weight: Weights of the elements, of the shape of ``pred``, or (N,) for (N, C).
            avg_factor: What the sum is divided by instead of the number of elements.
            reduction_override: Instead of the module's reduction.

        Returns:
            Scalar, or the shape of ``pred`` for "none".

        Raises:
            ValueError: If shapes do not fit.
        """
        reduction = loss_reduction(self.reduction, reduction_override)
        loss = focal_margin_loss(
            pred,
            binary_targets(pred, target),
            margin=self.margin,
            gamma=self.gamma,
            asymmetric=self.asymmetric,
        )
        if weight is not None and weight.dim() == 1 and pred.dim() == 2:
            weight = weight[:, None]
        return self.loss_weight * reduced(loss, weight, reduction, avg_factor)
