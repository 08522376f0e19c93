"""Hybrid focal margin loss: focal margin loss of pixels and focal Tversky loss of regions.

From the paper "Optimized Hybrid Focal Margin Loss for Crack Segmentation" (Eq. 4, 6, 13, 14).
What its text leaves open is in ``docs/losses_hybrid_focal_margin.md``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .focal_margin import focal_margin_loss

#: 1 - Tversky index is not taken for smaller: its power below 1 has no gradient at 0.
SMALLEST_ERROR = 1e-6


def hybrid_focal_margin_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    margin: float = 1.0,
    focusing: float = 2.0,
    delta: float = 0.7,
    gamma: float = 0.75,
    smooth: float = 1.0,
    asymmetric: bool = True,
    balance: float | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """Loss of each region (Eq. 14): focal margin loss plus focal Tversky loss.

    A region is a mask: the last two dimensions of three or more; of flat data, (N,) or (N, C),
    the samples of a class. The focal margin loss is averaged over the region (the ``1 / N`` of
    Eq. 11), and the Tversky index is that of its sums.

    Args:
        logits: (..., H, W), (N, C) or (N,).
        targets: Same shape, in [0, 1].
        margin: As for `focal_margin_loss`; 0 gives the hybrid focal loss (Eq. 15).
        focusing: The attenuation of the focal margin loss, there ``gamma`` with a hat.
        delta: Weight of false negatives in the Tversky index; see `tversky_index`.
        gamma: Exponent of the focal Tversky loss (Eq. 6).
        smooth: Smoothing term of the Tversky index.
        asymmetric: As for `focal_margin_loss`.
        balance: Lambda of Eq. 13, ``lambda L_FM + (1 - lambda) L_FT``. Default: the plain sum of
            Eq. 14, which the paper's experiments use.
        weights: Weight of each element, of the shape of the logits; 0 leaves it out of both
            parts. Default: all alike.

    Returns:
        (...) loss of each mask, (C,) of each class, or a scalar; 0 of regions without elements.

    Raises:
        ValueError: If shapes differ or a parameter is out of range.

    Example:
        >>> mask = torch.zeros(1, 2, 2)
        >>> mask[0, 0] = 1
        >>> hybrid_focal_margin_loss(mask * 40 - 20, mask, margin=0.0)  # as good as perfect
        tensor([3.1624e-05])
    """
    if balance is not None and not 0 <= balance <= 1:
        raise ValueError(f"Expected balance (lambda) in [0, 1], but got {balance}.")
    elements = focal_margin_loss(
        logits, targets, margin=margin, gamma=focusing, asymmetric=asymmetric
    )
    dims = region_dims(logits)
    number = math.prod(logits.shape[dim] for dim in dims)
    if number == 0:
        # A region of nothing: no loss, attached.
        return elements.sum(dim=dims)
    if weights is None:
        pixels = elements.sum(dim=dims) / number
    else:
        weights = weights.to(elements.dtype)
        total = weights.sum(dim=dims).clamp(min=torch.finfo(elements.dtype).tiny)
        pixels = (elements * weights).sum(dim=dims) / total
    regions = focal_tversky_loss(
        logits.to(elements.dtype).sigmoid(),
        targets,
        delta=delta,
        gamma=gamma,
        smooth=smooth,
        weights=weights,
    )
    if balance is None:
        return pixels + regions
    return balance * pixels + (1 - balance) * regions


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
    """
    if not gamma > 0:
        raise ValueError(f"Expected gamma > 0, but got {gamma}.")
    index = tversky_index(probs, targets, delta=delta, smooth=smooth, weights=weights)
    return (1 - index).clamp(min=SMALLEST_ERROR) ** gamma


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

    Example:
        >>> probs, targets = torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0.0])
        >>> tversky_index(probs, targets, delta=0.7, smooth=1.0)  # 1.5 / (0.5 + 0.35 + 0.15 + 1)
        tensor(0.7500)
    """
    if not 0 <= delta <= 1:
        raise ValueError(f"Expected delta in [0, 1], but got {delta}.")
    if not smooth > 0:
        raise ValueError(f"Expected smooth > 0, but got {smooth}: an empty region has no index.")
    targets = targets.to(probs.dtype)
    dims = region_dims(probs)
    weights = 1.0 if weights is None else weights
    hits = (weights * probs * targets).sum(dim=dims)
    misses = (weights * (1 - probs) * targets).sum(dim=dims)
    false = (weights * probs * (1 - targets)).sum(dim=dims)
    return (hits + smooth) / (hits + delta * misses + (1 - delta) * false + smooth)


def region_dims(values: Tensor) -> tuple[int, ...]:
    """Dimensions that a region spans: the last two of masks, the first of flat data."""
    return (-2, -1) if values.dim() >= 3 else (0,)
