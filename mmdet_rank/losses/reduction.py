"""Reductions of losses that have one value per entry, as MMDetection's."""

from __future__ import annotations

from mmdet.models.losses.utils import weight_reduce_loss
from torch import Tensor


def loss_reduction(reduction: str, override: str | None = None) -> str:
    """The reduction that counts, checked.

    Raises:
        ValueError: If it is none of "none", "mean" and "sum".
    """
    chosen = override or reduction
    if chosen not in ("none", "mean", "sum"):
        raise ValueError(f"Expected reduction 'none', 'mean' or 'sum', but got {chosen!r}.")
    return chosen


def reduced(
    loss: Tensor, weight: Tensor | None, reduction: str, avg_factor: float | None
) -> Tensor:
    """A loss weighed and reduced as MMDetection does, but 0 instead of NaN for no entries.

    Args:
        loss: Any shape.
        weight: Broadcastable to it.
        reduction: "mean", "sum" or "none".
        avg_factor: What "mean" divides the sum by instead of the number of entries.
    """
    if reduction == "mean" and avg_factor is None and not loss.numel():
        return loss.sum()
    return weight_reduce_loss(loss, weight, reduction, avg_factor)
