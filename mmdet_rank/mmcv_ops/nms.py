"""Stand-in for `nms`."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import nms as torchvision_nms

from mmdet_rank.mmcv_ops.precision import widen


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
