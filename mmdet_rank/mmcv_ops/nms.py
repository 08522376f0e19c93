"""Stand-ins for `nms` and `softnms`."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import nms as torchvision_nms

from mmdet_rank.mmcv_ops.precision import widen

NAIVE, LINEAR, GAUSSIAN = 0, 1, 2


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Greedy non-maximum suppression by torchvision's kernel.

    Args:
        boxes: (N, 4) boxes x1, y1, x2, y2.
        scores: (N,) scores.
        iou_threshold: Boxes with a larger IoU with a better box are dropped.
        offset: 1 when x2 and y2 are the last pixel inside the box, else 0.

    Returns:
        int64 indices of the kept boxes, best score first.
    """
    boxes, scores = widen(boxes, scores)
    if offset:
        # A width of x2 - x1 + offset is the width of a box whose far corner is moved by offset.
        boxes = torch.cat([boxes[:, :2], boxes[:, 2:] + offset], dim=1)
    return torchvision_nms(boxes, scores, iou_threshold)


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Soft-NMS: lower the score of a box by its overlap with better ones instead of dropping it.

    Args:
        boxes: (N, 4) boxes x1, y1, x2, y2.
        scores: (N,) scores.
        dets: (N, 5) output, filled from the top with the kept boxes and their lowered scores.
        iou_threshold: Overlap from which the naive and the linear method act.
        sigma: Width of the Gaussian method.
        min_score: A box whose score falls below it is dropped.
        method: 0 naive (score set to 0), 1 linear (times 1 - IoU), 2 Gaussian
            (times exp(-IoU^2 / sigma)).
        offset: 1 when x2 and y2 are the last pixel inside the box, else 0.

    Returns:
        int64 indices of the kept boxes, in the order of `dets`.
    """
    (work,) = widen(boxes)
    left = scores.to(work.dtype).clone()
    areas = (work[:, 2:] - work[:, :2] + offset).prod(dim=1)
    alive = torch.ones_like(left, dtype=torch.bool)
    kept: list[int] = []
    while len(kept) < left.numel() and bool(alive.any()):
        best = int(left.masked_fill(~alive, -torch.inf).argmax())
        dets[len(kept), :4] = boxes[best].to(dets)
        dets[len(kept), 4] = left[best].to(dets)
        kept.append(best)
        alive[best] = False

        top_left = torch.maximum(work[best, :2], work[:, :2])
        bottom_right = torch.minimum(work[best, 2:], work[:, 2:])
        overlap = (bottom_right - top_left + offset).clamp(min=0).prod(dim=1)
        iou = overlap / (areas[best] + areas - overlap)
        factor = _decay(iou, iou_threshold, sigma, method)
        left = torch.where(alive, left * factor, left)
        alive &= ~(left < min_score)
    return torch.tensor(kept, dtype=torch.long, device=boxes.device)


def _decay(iou: Tensor, iou_threshold: float, sigma: float, method: int) -> Tensor:
    """Factor on the score of a box that overlaps a better one by `iou`."""
    if method == GAUSSIAN:
        return torch.exp(-(iou**2) / sigma)
    lowered = torch.zeros_like(iou) if method == NAIVE else 1 - iou
    return torch.where(iou >= iou_threshold, lowered, torch.ones_like(iou))
