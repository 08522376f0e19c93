"""Unified focal loss, asymmetric: one delta and one gamma for pixels and regions.

From "Optimized Hybrid Focal Margin Loss for Crack Segmentation" (Eq. 8 to 10) and the paper it
takes the loss from, Yeung et al. 2022, "Unified Focal loss: Generalising Dice and cross
entropy-based losses to handle class imbalanced medical image segmentation".
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .focal_margin import focal_margin_terms
from .regions import region_mean
from .tversky import error_power, tversky_index


def unified_focal_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    delta: float = 0.6,
    gamma: float = 0.5,
    balance: float = 0.5,
    smooth: float = 1.0,
    weights: Tensor | None = None,
) -> Tensor:
    """Asymmetric unified focal loss of each region (Eq. 10), for one foreground class.

    ``lambda L_maF + (1 - lambda) L_maFT``, with P the probability of the foreground, T the
    target, and TI the Tversky index of a class, in which delta weighs what the class misses:

    - ``L_maF = -(1/N) sum [delta T log P + (1 - delta) (1 - T) P^gamma log(1 - P)]``: the
      asymmetric focal loss (Eq. 2), its classes weighed by delta and 1 - delta;
    - ``L_maFT = (1 - TI_background) + (1 - TI_foreground)^(1 - gamma)`` (Eq. 8, whose printed
      exponent ``1 - r`` stands for ``1 - gamma``).

    Args:
        logits: (..., H, W), (N, C) or (N,); see `hybrid_focal_margin_loss`.
        targets: Same shape, in [0, 1].
        delta: Weight of the foreground's pixels, and of what a class misses in its Tversky index.
        gamma: Attenuation of the background's pixels and enhancement of the foreground's region,
            in [0, 1).
        balance: Lambda, in [0, 1].
        smooth: See `tversky_index`.
        weights: See `hybrid_focal_margin_loss`.

    Returns:
        (...) loss of each mask, (C,) of each class, or a scalar; float32 (float64 for float64
        logits).

    Raises:
        ValueError: If shapes differ or a parameter is out of range.

    Example:
        >>> import torch
        >>> unified_focal_loss(torch.zeros(2), torch.tensor([1.0, 0.0]))  # TI are both 0.75
        tensor(0.5280)
    """
    if not 0 <= balance <= 1:
        raise ValueError(f"Expected balance (lambda) in [0, 1], but got {balance}.")
    if not 0 <= gamma < 1:
        raise ValueError(f"Expected gamma in [0, 1), but got {gamma}.")
    foreground, background = focal_margin_terms(
        logits, targets, margin=0, gamma=gamma, asymmetric=True
    )
    pixels = region_mean(delta * foreground + (1 - delta) * background, weights)
    if not logits.numel():
        return pixels
    probs = logits.to(foreground.dtype).sigmoid()
    targets = targets.to(probs.dtype)
    options: dict[str, Any] = dict(delta=delta, smooth=smooth, weights=weights)
    regions = error_power(tversky_index(1 - probs, 1 - targets, **options), 1.0) + error_power(
        tversky_index(probs, targets, **options), 1 - gamma
    )
    return balance * pixels + (1 - balance) * regions
