"""Dice losses of masks: squared, and plain beside binary cross entropy.

From the paper "Optimized Hybrid Focal Margin Loss for Crack Segmentation" (Eq. 1 and 5). Dice loss
alone is Tversky loss with ``delta = 0.5``.
"""

from __future__ import annotations

from torch import Tensor

from .hybrid_focal_margin import hybrid_focal_margin_loss
from .regions import region_counts, region_dims


def bce_dice_loss(logits: Tensor, targets: Tensor, *, weights: Tensor | None = None) -> Tensor:
    """Binary cross entropy plus Dice loss of each region (Eq. 1).

    ``mean(BCE) + 1 - (2 sum(P T) + 1) / (sum(P) + sum(T) + 1)``. The printed equation has the
    foreground's entropy only and leaves the constant 1 out, which changes no gradient; the paper
    calls the loss binary cross entropy with Dice, so both classes are in it.

    Args:
        logits: (..., H, W), (N, C) or (N,); see `hybrid_focal_margin_loss`.
        targets: Same shape, in [0, 1].
        weights: Weight of each element, same shape; 0 leaves it out. Default: all alike.

    Returns:
        (...) loss of each mask, (C,) of each class, or a scalar; float32 (float64 for float64
        logits).

    Raises:
        ValueError: If shapes differ.

    Example:
        >>> import torch
        >>> bce_dice_loss(torch.zeros(2), torch.tensor([1.0, 0.0]))  # log 2 + 1 - 2 / 3
        tensor(1.0265)
    """
    # A Tversky index smoothed by 0.5 is the Dice coefficient smoothed by 1.
    return hybrid_focal_margin_loss(
        logits, targets, margin=0, focusing=0, delta=0.5, gamma=1, smooth=0.5, weights=weights
    )


def squared_dice_loss(
    probs: Tensor, targets: Tensor, *, smooth: float = 1.0, weights: Tensor | None = None
) -> Tensor:
    """Dice loss of each region with squares below the line (Eq. 5).

    ``1 - (2 sum(P T) + smooth) / (sum(P^2) + sum(T^2) + smooth)``.

    Args:
        probs: (..., H, W), (N, C) or (N,) probabilities; see `hybrid_focal_margin_loss`.
        targets: Same shape, in [0, 1].
        smooth: Added to both sides of the fraction, above 0.
        weights: Weight of each element, same shape; 0 leaves it out. Default: all alike.

    Returns:
        (...) loss of each mask, (C,) of each class, or a scalar.

    Raises:
        ValueError: If shapes differ or ``smooth`` is not above 0.

    Example:
        >>> import torch
        >>> squared_dice_loss(torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0.0]))  # 1 - 2 / 2.5
        tensor(0.2000)
    """
    if not smooth > 0:
        raise ValueError(f"Expected smooth > 0, but got {smooth}: an empty region has no Dice.")
    hits, _, _ = region_counts(probs, targets, weights)
    squares = probs.square() + targets.to(probs.dtype).square()
    if weights is not None:
        squares = weights * squares
    return 1 - (2 * hits + smooth) / (squares.sum(dim=region_dims(probs)) + smooth)
