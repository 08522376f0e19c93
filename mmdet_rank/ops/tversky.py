"""Tversky index of masks, and the losses that are powers of 1 minus it.

From the paper "Optimized Hybrid Focal Margin Loss for Crack Segmentation" (Eq. 4, 6, 8).
What its text leaves open is in ``docs/losses_hybrid_focal_margin.md``.
"""

from __future__ import annotations

from torch import Tensor

from .regions import region_counts

#: 1 - index is not taken for smaller where its power is below 1, which has no gradient at 0.
SMALLEST_ERROR = 1e-6


def focal_tversky_loss(
    probs: Tensor,
    targets: Tensor,
    *,
    delta: float = 0.7,
    gamma: float = 0.75,
    smooth: float = 1.0,
    weights: Tensor | None = None,
) -> Tensor:
    """Loss of each region (Eq. 6): ``(1 - TI)^gamma``, with the Tversky index TI.

    ``gamma = 1`` gives Tversky loss, and with ``delta = 0.5`` Dice loss.

    Args:
        probs: Probabilities, of a shape as for `hybrid_focal_margin_loss`.
        targets: Same shape, in [0, 1].
        delta: See `tversky_index`.
        gamma: Exponent, above 0.
        smooth: See `tversky_index`.
        weights: See `hybrid_focal_margin_loss`.

    Returns:
        (...) loss in [0, 1] of each mask, (C,) of each class, or a scalar.

    Raises:
        ValueError: If shapes differ or a parameter is out of range.

    Example:
        >>> import torch
        >>> probs, targets = torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0.0])
        >>> focal_tversky_loss(probs, targets, gamma=0.5)  # sqrt(1 - 0.75)
        tensor(0.5000)
    """
    if not gamma > 0:
        raise ValueError(f"Expected gamma > 0, but got {gamma}.")
    index = tversky_index(probs, targets, delta=delta, smooth=smooth, weights=weights)
    return error_power(index, gamma)


def tversky_index(
    probs: Tensor,
    targets: Tensor,
    *,
    delta: float = 0.7,
    smooth: float = 1.0,
    weights: Tensor | None = None,
) -> Tensor:
    """Tversky index of each region (Eq. 4), in [0, 1].

    ``(TP + smooth) / (TP + delta FN + (1 - delta) FP + smooth)`` with the sums of probabilities
    over the region. ``delta = 0.5`` is the Dice coefficient, smoothed by 2 ``smooth``.

    Args:
        probs: Probabilities, of a shape as for `hybrid_focal_margin_loss`.
        targets: Same shape, in [0, 1].
        delta: Weight of false negatives, in [0, 1]; false positives weigh 1 - delta.
        smooth: Added to both sides of the fraction, above 0, so that regions without any
            foreground have an index too, and train.
        weights: See `hybrid_focal_margin_loss`.

    Returns:
        (...) index of each mask, (C,) of each class, or a scalar, attached to the probabilities.

    Raises:
        ValueError: If shapes differ, or delta or smooth is out of range.

    Example:
        >>> import torch
        >>> probs, targets = torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0.0])
        >>> tversky_index(probs, targets, delta=0.7, smooth=1.0)  # 1.5 / (0.5 + 0.35 + 0.15 + 1)
        tensor(0.7500)
    """
    if not 0 <= delta <= 1:
        raise ValueError(f"Expected delta in [0, 1], but got {delta}.")
    if not smooth > 0:
        raise ValueError(f"Expected smooth > 0, but got {smooth}: an empty region has no index.")
    hits, misses, false = region_counts(probs, targets, weights)
    return (hits + smooth) / (hits + delta * misses + (1 - delta) * false + smooth)


def error_power(index: Tensor, gamma: float) -> Tensor:
    """``(1 - index)^gamma``, with a finite gradient also where the index is 1."""
    error = 1 - index
    return error.clamp(min=SMALLEST_ERROR) ** gamma if gamma < 1 else error**gamma
