"""Continuous labels of foreground pixels, by which RS Loss sorts them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def depth_labels(masks: Tensor, depth: int = 4) -> Tensor:
    """Label of each foreground pixel by how deep it lies inside, the middle of a crack highest.

    The label is ``d / depth``, d being the distance in pixels to the nearest background pixel,
    rows and columns counted alike (the larger of the two), and at most ``depth``. Outlines, where
    annotators disagree, get the lowest label.

    Args:
        masks: (B, C, H, W), above 0 for foreground. What lies outside of the image is no
            background.
        depth: Distance in pixels from which the label is 1, at least 1.

    Returns:
        Labels of the same shape, in (0, 1] for foreground and 0 for background; float32 or better.

    Raises:
        ValueError: If ``depth`` is below 1.

    Example:
        >>> depth_labels(torch.tensor([[[[0, 1, 1, 1, 0]]]]), depth=2)
        tensor([[[[0.0000, 0.5000, 1.0000, 0.5000, 0.0000]]]])
    """
    if depth < 1:
        raise ValueError(f"Expected a depth of at least 1 pixel, but got {depth}.")
    inside = (masks > 0).to(torch.promote_types(masks.dtype, torch.float32))
    total = inside
    for _ in range(depth - 1):
        # Erosion: a pixel stays where its whole neighbourhood is inside.
        inside = -F.max_pool2d(-inside, 3, stride=1, padding=1)
        total = total + inside
    return total / depth


def overlap_labels(probs: Tensor, masks: Tensor, radius: int = 4) -> Tensor:
    """Soft IoU of prediction and truth around each pixel, as IoU is the label of a box.

    ``sum(P T) / sum(P + T - P T)`` over the square of ``2 radius + 1`` pixels around it.

    Args:
        probs: (B, C, H, W) probabilities.
        masks: Same shape, in [0, 1].
        radius: Half width of the square, in pixels.

    Returns:
        IoUs of the same shape, in [0, 1], differentiable in the probabilities; 0 where nothing is
        predicted or true.

    Raises:
        ValueError: If shapes differ or ``radius`` is negative.

    Example:
        >>> probs, masks = torch.tensor([[[[0.5, 0.5]]]]), torch.tensor([[[[1.0, 0.0]]]])
        >>> overlap_labels(probs, masks, radius=1)  # 0.5 / 1.5 around both
        tensor([[[[0.3333, 0.3333]]]])
    """
    if probs.shape != masks.shape:
        raise ValueError(
            "Expected masks of the shape of the probabilities, but got "
            f"{tuple(masks.shape)} for {tuple(probs.shape)}."
        )
    if radius < 0:
        raise ValueError(f"Expected a radius of at least 0 pixels, but got {radius}.")
    masks = masks.to(probs.dtype)
    both = probs * masks
    sums = F.avg_pool2d(
        torch.cat([both, probs + masks - both], dim=1), 2 * radius + 1, stride=1, padding=radius
    )
    overlap, union = sums.chunk(2, dim=1)
    return overlap / union.clamp(min=torch.finfo(union.dtype).tiny)
