"""The common part of the losses on masks: call forms of MMDetection, reductions, probabilities."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmdet_rank.ops.regions import region_mean

from .base import masks_of_labels
from .binary_targets import binary_targets, refuse_softmax
from .reduction import loss_reduction, reduced

#: Probabilities that stand in for logits are kept this far from 0 and 1.
SMALLEST_PROBABILITY = 1e-6


class MaskLoss(nn.Module):
    """Base of the losses on one logit per pixel, or per class of a sample.

    Args:
        reduction: "mean", "sum" or "none" of what the loss has one value of.
        loss_weight: Factor of the loss.
        use_sigmoid: Must be True; heads read it from a loss's config.
        activate: Whether predictions are logits; False for heads that give probabilities.
    """

    #: Whether `values` has one value per element, or one per region.
    per_element = False

    def __init__(
        self,
        reduction: str = "mean",
        loss_weight: float = 1.0,
        use_sigmoid: bool = True,
        activate: bool = True,
    ) -> None:
        super().__init__()
        refuse_softmax(type(self).__name__, use_sigmoid)
        self.use_sigmoid = use_sigmoid
        self.activate = activate
        self.reduction = loss_reduction(reduction)
        self.loss_weight = loss_weight
        self.options: dict = {}

    def extra_repr(self) -> str:
        """Options, as printed with a model."""
        shown = self.options | dict(reduction=self.reduction, loss_weight=self.loss_weight)
        return ", ".join(f"{name}={value}" for name, value in shown.items())

    def values(self, logits: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
        """Loss of each element or region, not reduced."""
        raise NotImplementedError

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """MMDetection's call forms.

        Args:
            pred: Logits: masks (n, H, W) or (B, C, H, W), or samples (N,) or (N, C).
            target: The shape of ``pred``, in [0, 1]; or (N,) integer classes for (N, C), outside
                of 0..C-1 for background; or masks (n, H, W) for (n, C, H, W) with labels.
            weight: Of the shape of ``pred``: weights of the elements, 0 for ignored ones; for
                (N, C) also (N,). Or one per mask: (n,), (B, C). Or, as Mask R-CNN's head calls
                its loss, (n,) integer class labels, which choose the channel of each mask.
            avg_factor: What the sum is divided by instead of the number of values.
            reduction_override: Instead of the module's reduction.

        Returns:
            Scalar, or all values for "none".

        Raises:
            ValueError: If shapes do not fit.
        """
        reduction = loss_reduction(self.reduction, reduction_override)
        pred, weight = masks_of_labels(pred, target, weight)
        if not self.activate:
            pred = torch.logit(at_least_float32(pred), eps=SMALLEST_PROBABILITY)
        targets = binary_targets(pred, target)
        elements, rest = self._split_weight(pred, weight)
        # Regions without elements have no loss; their Tversky index would be a trace off 1.
        whole = pred.numel() or self.per_element
        loss = self.values(pred, targets, elements) if whole else region_mean(pred)
        return self.loss_weight * reduced(loss, rest, reduction, avg_factor)

    def _split_weight(
        self, pred: Tensor, weight: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None]:
        """Weights of elements, and weights of what the loss has one value of."""
        if weight is None:
            return None, None
        if pred.dim() >= 3 and weight.shape == pred.shape[:-2]:
            return None, weight
        if weight.shape == pred.shape:
            return weight, None
        if pred.dim() == 2 and weight.shape == pred.shape[:1]:
            return weight[:, None].expand_as(pred), None
        raise ValueError(
            f"Expected weights of the shape of the logits {tuple(pred.shape)} or one per "
            f"mask in {type(self).__name__}, but got {tuple(weight.shape)}."
        )


class ElementLoss(MaskLoss):
    """Base of the losses that have one value per element."""

    per_element = True

    def _split_weight(
        self, pred: Tensor, weight: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None]:
        elements, masks = super()._split_weight(pred, weight)
        return None, elements if masks is None else masks[..., None, None]


def at_least_float32(values: Tensor) -> Tensor:
    """The values in float32, float64 ones as they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def mask_errors(loss: nn.Module, pred: Tensor, target: Tensor) -> Tensor:
    """One loss per mask, of a loss that has one value per mask or per pixel.

    Args:
        loss: MMDetection's ``DiceLoss`` or ``CrossEntropyLoss``, or a `MaskLoss`.
        pred: (n, H, W) as the loss takes it.
        target: (n, H, W) masks.

    Returns:
        (n,).
    """
    errors = loss(pred, target, reduction_override="none")
    return errors.flatten(1).mean(dim=1) if errors.dim() > 1 else errors
