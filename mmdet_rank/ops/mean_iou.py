"""Soft mean IoU of masks as a loss ("Precision Metrics as Loss Function in Object Detection").

``mIoU = 1/N sum_i overlap_i / union_i`` over the N classes; overlap and union become sums of
probabilities, so that they have a gradient.
"""

from __future__ import annotations

from torch import Tensor

from .regions import region_counts


def mean_iou_loss(
    probs: Tensor,
    targets: Tensor,
    *,
    background: bool = True,
    smooth: float = 1.0,
    weights: Tensor | None = None,
) -> Tensor:
    """1 - soft mean IoU of each region.

    The soft IoU of a class is ``(sum(P T) + smooth) / (sum(P + T - P T) + smooth)``.

    Args:
        probs: (..., H, W), (N, C) or (N,) probabilities; see `hybrid_focal_margin_loss`.
        targets: Same shape, in [0, 1].
        background: Average over the two classes of a mask, foreground and background; or the IoU
            of the foreground alone, whose mean over the classes is the mIoU where every class has
            a channel of its own.
        smooth: Added to both sides of the fraction, above 0.
        weights: Weight of each element, same shape; 0 leaves it out. Default: all alike.

    Returns:
        (...) loss in [0, 1] of each mask, (C,) of each class, or a scalar.

    Raises:
        ValueError: If shapes differ or ``smooth`` is not above 0.

    Example:
        >>> import torch
        >>> probs, targets = torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0.0])
        >>> mean_iou_loss(probs, targets)  # both IoUs are 1.5 / 2.5
        tensor(0.4000)
    """
    if not smooth > 0:
        raise ValueError(f"Expected smooth > 0, but got {smooth}: an empty region has no IoU.")
    hits, misses, false = region_counts(probs, targets, weights)
    iou = (hits + smooth) / (hits + misses + false + smooth)
    if not background:
        return 1 - iou
    # What one class misses the other takes falsely.
    rejected, _, _ = region_counts(1 - probs, 1 - targets.to(probs.dtype), weights)
    return 1 - (iou + (rejected + smooth) / (rejected + misses + false + smooth)) / 2
