"""Sums over regions: a mask, or all samples of a class."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def region_dims(values: Tensor) -> tuple[int, ...]:
    """Dimensions that a region spans: the last two of masks, the first of flat data."""
    return (-2, -1) if values.dim() >= 3 else (0,)


def region_mean(elements: Tensor, weights: Tensor | None = None) -> Tensor:
    """Weighed mean of each region; 0, attached, of a region without elements or weight.

    Args:
        elements: (..., H, W), (N, C) or (N,).
        weights: Same shape. Default: all alike.

    Example:
        >>> region_mean(torch.tensor([1.0, 5.0]), torch.tensor([1.0, 3.0]))
        tensor(4.)
    """
    dims = region_dims(elements)
    if weights is None:
        number = math.prod(elements.shape[dim] for dim in dims)
        return elements.sum(dim=dims) / max(number, 1)
    weights = weights.to(elements.dtype)
    total = weights.sum(dim=dims).clamp(min=torch.finfo(elements.dtype).tiny)
    return (elements * weights).sum(dim=dims) / total


def region_counts(
    probs: Tensor, targets: Tensor, weights: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """True positives, false negatives and false positives of each region, as sums of probabilities.

    Args:
        probs: (..., H, W), (N, C) or (N,) probabilities.
        targets: Same shape, in [0, 1].
        weights: Same shape. Default: all alike.

    Raises:
        ValueError: If shapes differ.

    Example:
        >>> region_counts(torch.tensor([0.75, 0.5]), torch.tensor([1.0, 0.0]))
        (tensor(0.7500), tensor(0.2500), tensor(0.5000))
    """
    if probs.shape != targets.shape:
        raise ValueError(
            "Expected targets of the shape of the probabilities, but got "
            f"{tuple(targets.shape)} for {tuple(probs.shape)}."
        )
    targets = targets.to(probs.dtype)
    dims = region_dims(probs)
    predicted, true = (probs, targets) if weights is None else (weights * probs, weights * targets)
    hits = (predicted * targets).sum(dim=dims)
    return hits, (true * (1 - probs)).sum(dim=dims), (predicted * (1 - targets)).sum(dim=dims)
