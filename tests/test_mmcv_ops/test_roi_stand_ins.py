"""Stand-ins for pooling regions of interest, against slow definitions."""

from __future__ import annotations

import math

import pytest
import torch
from mmcv.ops import (
    roi_align,
)
from operator_inputs import double, random_boxes

from mmdet_rank import mmcv_ops

pytestmark = pytest.mark.skipif(
    not mmcv_ops.is_stand_in(), reason="mmcv has compiled operators, which are used"
)
LOW_PRECISION = [torch.float16, torch.bfloat16]


def bilinear(image: torch.Tensor, y: float, x: float) -> torch.Tensor:
    """Value of a (C, H, W) image between pixels; outside by more than one pixel it is 0."""
    height, width = image.shape[1:]
    if not (-1 <= y <= height and -1 <= x <= width):
        return torch.zeros_like(image[:, 0, 0])
    y, x = max(y, 0.0), max(x, 0.0)
    y0, x0 = min(int(y), height - 1), min(int(x), width - 1)
    y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
    y, x = (y if y0 < height - 1 else float(y0)), (x if x0 < width - 1 else float(x0))
    top = image[:, y0, x0] * (1 - x + x0) + image[:, y0, x1] * (x - x0)
    bottom = image[:, y1, x0] * (1 - x + x0) + image[:, y1, x1] * (x - x0)
    return top * (1 - y + y0) + bottom * (y - y0)


def slow_roi_align(features, rois, size, scale, sampling_ratio, aligned):
    output = []
    for batch, *corners in rois.tolist():
        x1, y1, x2, y2 = (c * scale - (0.5 if aligned else 0) for c in corners)
        width, height = x2 - x1, y2 - y1
        if not aligned:
            width, height = max(width, 1.0), max(height, 1.0)
        rows = sampling_ratio or math.ceil(height / size[0])
        columns = sampling_ratio or math.ceil(width / size[1])
        image = features[int(batch)]
        bins = [
            sum(
                bilinear(
                    image,
                    y1 + (i + (a + 0.5) / rows) * height / size[0],
                    x1 + (j + (b + 0.5) / columns) * width / size[1],
                )
                for a in range(rows)
                for b in range(columns)
            )
            / (rows * columns)
            for i in range(size[0])
            for j in range(size[1])
        ]
        output.append(torch.stack(bins, dim=1).view(-1, *size))
    return torch.stack(output)


ROIS = torch.tensor(
    [[0, 2, 3, 18, 21], [1, 0, 0, 31, 31], [1, 9.3, 4.2, 10.1, 4.9], [0, -6, 20, 12, 40]],
    dtype=torch.float64,
)


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_roi_align_against_definition(aligned, sampling_ratio):
    features = double(2, 3, 8, 8)
    arguments = ((2, 3), 0.25, sampling_ratio)
    fast = roi_align(features, ROIS, *arguments, "avg", aligned)
    slow = slow_roi_align(features, ROIS, *arguments, aligned)
    torch.testing.assert_close(fast, slow)
    weight = torch.randn_like(slow)
    gradients = [torch.autograd.grad((out * weight).sum(), features)[0] for out in (fast, slow)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("dtype", LOW_PRECISION)
def test_roi_align_in_low_precision(dtype):
    features = double(2, 3, 8, 8).detach().to(dtype).requires_grad_()
    out = roi_align(features, ROIS.to(dtype), 2, 0.25, 2, "avg", True)
    assert out.dtype == dtype
    exact = slow_roi_align(features.double(), ROIS.to(dtype), (2, 2), 0.25, 2, True)
    torch.testing.assert_close(out.double(), exact, rtol=2 * torch.finfo(dtype).eps, atol=1e-2)
    out.sum().backward()
    assert features.grad.dtype == dtype


@pytest.mark.parametrize("sampling_ratio", [0, 2])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_rois_that_are_no_numbers_leave_the_others_alone(sampling_ratio, value):
    # torchvision's kernel alone reads beside its memory for them, which may end the process.
    x, boxes = double(1, 2, 9, 9), torch.cat([torch.zeros(3, 1), random_boxes(3, size=6)], dim=1)
    boxes = boxes.double()
    expected = roi_align(x, boxes, 3, 1.0, sampling_ratio)
    boxes[1, 1], boxes[2, 4] = float(value), float(value)
    output = roi_align(x, boxes, 3, 1.0, sampling_ratio)
    assert output.isfinite().all()
    torch.testing.assert_close(output[0], expected[0])
    output.sum().backward()
    assert x.grad.isfinite().all()


def test_rois_of_nothing():
    features = torch.zeros(1, 2, 4, 4, requires_grad=True)
    out = roi_align(features, torch.zeros(0, 5), 2, 1.0, 0, "avg", True)
    assert out.shape == (0, 2, 2, 2)
    out.sum().backward()
    assert (features.grad == 0).all()
