"""Stand-ins for the suppression of overlapping boxes, against slow definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmcv.ops import (
    batched_nms,
    nms,
)
from operator_inputs import random_boxes

from mmdet_rank import mmcv_ops

pytestmark = pytest.mark.skipif(
    not mmcv_ops.is_stand_in(), reason="mmcv has compiled operators, which are used"
)
LOW_PRECISION = [torch.float16, torch.bfloat16]


def iou(a: list[float], b: list[float], offset: int) -> float:
    w = max(0.0, min(a[2], b[2]) - max(a[0], b[0]) + offset)
    h = max(0.0, min(a[3], b[3]) - max(a[1], b[1]) + offset)
    areas = [(c[2] - c[0] + offset) * (c[3] - c[1] + offset) for c in (a, b)]
    return w * h / (sum(areas) - w * h)


@pytest.mark.parametrize("offset", [0, 1])
def test_nms_against_definition(offset):
    boxes, scores = random_boxes(60), torch.rand(60, generator=torch.Generator().manual_seed(1))
    kept: list[int] = []
    for i in scores.argsort(descending=True).tolist():
        if all(iou(boxes[i].tolist(), boxes[j].tolist(), offset) <= 0.4 for j in kept):
            kept.append(i)
    dets, indices = nms(boxes, scores, 0.4, offset=offset)
    assert indices.tolist() == kept
    assert 5 < len(kept) < 55
    torch.testing.assert_close(dets, torch.cat([boxes[kept], scores[kept, None]], dim=1))


def test_nms_of_nothing_numpy_and_limits():
    assert nms(torch.zeros(0, 4), torch.zeros(0), 0.5)[1].tolist() == []
    boxes = np.array([[0, 0, 4, 4], [0, 0, 4, 3.9], [8, 8, 9, 9]], dtype=np.float32)
    scores = np.array([0.5, 0.9, 0.1], dtype=np.float32)
    assert nms(boxes, scores, 0.5)[1].tolist() == [1, 2]
    assert nms(boxes, scores, 0.5, score_threshold=0.2)[1].tolist() == [1]
    assert nms(boxes, scores, 0.5, max_num=1)[1].tolist() == [1]


@pytest.mark.parametrize("dtype", LOW_PRECISION)
def test_nms_in_low_precision(dtype):
    boxes = torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 3.9], [8, 8, 9, 9]], dtype=dtype)
    scores = torch.tensor([0.5, 0.9, 0.1], dtype=dtype)
    dets, kept = nms(boxes, scores, 0.5)
    assert kept.tolist() == [1, 2]
    assert dets.dtype == dtype


def test_batched_nms_keeps_classes_apart():
    boxes = torch.tensor([[0.0, 0, 4, 4]]).repeat(3, 1)
    scores, classes = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0, 1, 1])
    assert batched_nms(boxes, scores, classes, {"type": "nms", "iou_threshold": 0.5})[
        1
    ].tolist() == [2, 0]
