"""Hybrid focal margin loss: focal margin loss of pixels and focal Tversky loss of regions.

From the paper "Optimized Hybrid Focal Margin Loss for Crack Segmentation" (Eq. 4, 6, 13, 14).
What its text leaves open is in ``docs/losses_hybrid_focal_margin.md``.
"""

from __future__ import annotations

from torch import Tensor

from .focal_margin import focal_margin_loss
from .regions import region_mean
from .tversky import focal_tversky_loss


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
        >>> import torch
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
    pixels = region_mean(elements, weights)
    if not elements.numel():
        return pixels
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
