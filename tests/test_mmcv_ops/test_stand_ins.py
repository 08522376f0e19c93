"""Stand-ins for mmcv's compiled operators: values and gradients against slow definitions."""

from __future__ import annotations

import importlib
import importlib.util
import math
import pkgutil
import sys

import mmcv.ops
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmcv.ops import (
    CARAFE,
    CARAFENaive,
    DeformConv2dPack,
    ModulatedDeformConv2dPack,
    batched_nms,
    deform_conv2d,
    modulated_deform_conv2d,
    nms,
    roi_align,
    roi_pool,
    sigmoid_focal_loss,
    soft_nms,
)
from mmcv.ops.multi_scale_deform_attn import (
    MultiScaleDeformableAttnFunction,
    multi_scale_deformable_attn_pytorch,
)

from mmdet_rank import mmcv_ops

pytestmark = pytest.mark.skipif(
    not mmcv_ops.is_stand_in(), reason="mmcv has compiled operators, which are used"
)
LOW_PRECISION = [torch.float16, torch.bfloat16]


def double(*shape: int, seed: int = 0, grad: bool = True) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(*shape, dtype=torch.float64, generator=generator)
    return values.requires_grad_(grad)


def random_boxes(num: int, size: float = 30, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(num, 2, generator=generator) * size
    extent = 2 + torch.rand(num, 2, generator=generator) * size / 2
    return torch.cat([corner, corner + extent], dim=1)


def iou(a: list[float], b: list[float], offset: int) -> float:
    w = max(0.0, min(a[2], b[2]) - max(a[0], b[0]) + offset)
    h = max(0.0, min(a[3], b[3]) - max(a[1], b[1]) + offset)
    areas = [(c[2] - c[0] + offset) * (c[3] - c[1] + offset) for c in (a, b)]
    return w * h / (sum(areas) - w * h)


# Importing -------------------------------------------------------------------------------------


def test_module_is_found_like_any_other():
    spec = importlib.util.find_spec("mmcv._ext")
    assert spec is sys.modules["mmcv._ext"].__spec__
    assert spec.origin == mmcv_ops.ORIGIN
    assert importlib.import_module("mmcv._ext") is sys.modules["mmcv._ext"]
    assert importlib.util.find_spec("mmcv._no_such_extension") is None
    if hasattr(pkgutil, "find_loader"):
        from mmcv.utils.ext_loader import check_ops_exist

        assert check_ops_exist()


def test_other_operators_are_named_with_the_command():
    boxes = torch.tensor([[5.0, 5, 4, 4, 0.1]])
    with pytest.raises(NotImplementedError, match=r"box_iou_rotated has no stand-in.*pip install"):
        mmcv.ops.box_iou_rotated(boxes, boxes)
    with pytest.raises(NotImplementedError, match="pool_mode='max'"):
        roi_align(torch.zeros(1, 1, 4, 4), torch.zeros(1, 5), 2, 1.0, 0, "max", True)
    assert not hasattr(sys.modules["mmcv._ext"], "__path__")


def test_versions_of_the_log_are_text():
    assert "stand-ins" in mmcv.ops.get_compiler_version()
    assert "stand-ins" in mmcv.ops.get_compiling_cuda_version()


# Non-maximum suppression -----------------------------------------------------------------------


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


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("method", ["naive", "linear", "gaussian"])
def test_soft_nms_against_definition(method, offset):
    boxes, scores = random_boxes(30), torch.rand(30, generator=torch.Generator().manual_seed(1))
    left = dict(enumerate(scores.double().tolist()))
    expected = []
    while left:
        best = max(left, key=left.get)
        expected.append((best, left.pop(best)))
        for i in list(left):
            overlap = iou(boxes[best].tolist(), boxes[i].tolist(), offset)
            if method == "gaussian":
                left[i] *= math.exp(-(overlap**2) / 0.5)
            elif overlap >= 0.3:
                left[i] *= 0 if method == "naive" else 1 - overlap
            if left[i] < 0.05:
                del left[i]
    dets, indices = soft_nms(boxes, scores, 0.3, 0.5, 0.05, method, offset)
    assert indices.tolist() == [i for i, _ in expected]
    assert 5 < len(expected) < 30
    torch.testing.assert_close(dets[:, :4], boxes[indices])
    torch.testing.assert_close(dets[:, 4].double(), torch.tensor([s for _, s in expected]).double())


def test_soft_nms_of_nothing():
    dets, indices = soft_nms(torch.zeros(0, 4), torch.zeros(0))
    assert dets.shape == (0, 5)
    assert indices.tolist() == []


# Regions of interest ---------------------------------------------------------------------------


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


def slow_roi_pool(features, rois, size, scale):
    height, width = features.shape[2:]
    output = features.new_zeros(len(rois), features.shape[1], *size)
    for n, (batch, x1, y1, x2, y2) in enumerate(rois.tolist()):
        x1, y1, x2, y2 = x1 * scale, y1 * scale, (x2 + 1) * scale, (y2 + 1) * scale
        for i in range(size[0]):
            for j in range(size[1]):
                low_y = max(math.floor(y1 + i * (y2 - y1) / size[0]), 0)
                low_x = max(math.floor(x1 + j * (x2 - x1) / size[1]), 0)
                high_y = min(math.ceil(y1 + (i + 1) * (y2 - y1) / size[0]), height)
                high_x = min(math.ceil(x1 + (j + 1) * (x2 - x1) / size[1]), width)
                if high_y > low_y and high_x > low_x and x2 > x1 and y2 > y1:
                    cells = features[int(batch), :, low_y:high_y, low_x:high_x]
                    output[n, :, i, j] = cells.amax(dim=(1, 2))
    return output


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


def test_roi_pool_against_definition():
    outside_and_malformed = torch.tensor(
        [[0, 40, 40, 60, 60], [1, 20, 5, 10, 9]], dtype=torch.float64
    )
    rois = torch.cat([ROIS, outside_and_malformed])
    features = double(2, 3, 8, 8)
    fast = roi_pool(features, rois, (3, 2), 0.25)
    slow = slow_roi_pool(features, rois, (3, 2), 0.25)
    torch.testing.assert_close(fast, slow)
    assert (fast[-2:] == 0).all()
    weight = torch.randn_like(slow)
    gradients = [torch.autograd.grad((out * weight).sum(), features)[0] for out in (fast, slow)]
    torch.testing.assert_close(*gradients)


def test_roi_pool_of_equal_features_takes_the_first():
    features = torch.ones(1, 1, 4, 4, requires_grad=True)
    roi_pool(features, torch.tensor([[0.0, 0, 0, 3, 3]]), 2, 1.0).sum().backward()
    assert features.grad.nonzero()[:, 2:].tolist() == [[0, 0], [0, 2], [2, 0], [2, 2]]


def test_rois_of_nothing():
    features = torch.zeros(1, 2, 4, 4, requires_grad=True)
    for out in (
        roi_align(features, torch.zeros(0, 5), 2, 1.0, 0, "avg", True),
        roi_pool(features, torch.zeros(0, 5), 2, 1.0),
    ):
        assert out.shape == (0, 2, 2, 2)
        out.sum().backward()


# Deformable convolution ------------------------------------------------------------------------


def slow_deform_conv(x, offset, mask, weight, bias, stride, padding, dilation, groups):
    """Sum over the taps of the kernel of shifted, bilinearly sampled input."""
    batch, channels, height, width = x.shape
    taps_y, taps_x = weight.shape[2:]
    deform_groups = offset.shape[1] // (2 * taps_y * taps_x)
    offset = offset.view(batch, deform_groups, taps_y * taps_x, 2, *offset.shape[2:])
    output = []
    for b in range(batch):
        columns = []
        for g in range(deform_groups):
            share = channels // deform_groups
            image = x[b, g * share : (g + 1) * share]
            # One pixel of zeros around, since a sample between the border and nothing is partial.
            image = F.pad(image, (2, 2, 2, 2))
            for i in range(taps_y):
                for j in range(taps_x):
                    tap = i * taps_x + j
                    shift = offset[b, g, tap]
                    rows, cols = shift.shape[1:]
                    y = torch.arange(rows)[:, None] * stride - padding + i * dilation + shift[0]
                    z = torch.arange(cols)[None] * stride - padding + j * dilation + shift[1]
                    grid = torch.stack(
                        [(z + 2) * 2 / (width + 3) - 1, (y + 2) * 2 / (height + 3) - 1], dim=-1
                    )
                    sampled = F.grid_sample(image[None], grid[None], align_corners=True)[0]
                    columns.append(sampled * mask[b].view(deform_groups, -1, rows, cols)[g, tap])
        stacked = torch.stack(columns).view(deform_groups, taps_y * taps_x, -1, rows, cols)
        stacked = stacked.permute(0, 2, 1, 3, 4).reshape(channels, taps_y * taps_x, rows, cols)
        per_group = stacked.view(groups, channels // groups, taps_y * taps_x, rows, cols)
        kernels = weight.view(groups, weight.shape[0] // groups, -1, taps_y * taps_x)
        output.append(torch.einsum("gctyx,goct->goyx", per_group, kernels).flatten(0, 1))
    return torch.stack(output) + (0 if bias is None else bias[:, None, None])


@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "groups", "deform_groups"),
    [(1, 1, 1, 1, 1), (2, 2, 2, 2, 1), (1, 0, 1, 1, 2)],
)
@pytest.mark.parametrize("modulated", [True, False])
def test_deform_conv_against_definition(
    modulated, stride, padding, dilation, groups, deform_groups
):
    x, weight = double(2, 4, 7, 6), double(6, 4 // groups, 3, 3, seed=1)
    rows = (7 + 2 * padding - 2 * dilation - 1) // stride + 1
    cols = (6 + 2 * padding - 2 * dilation - 1) // stride + 1
    offset = double(2, deform_groups * 18, rows, cols, seed=2)
    geometry = (stride, padding, dilation, groups, deform_groups)
    if modulated:
        mask, bias = double(2, deform_groups * 9, rows, cols, seed=3), double(6, seed=4)
        fast = modulated_deform_conv2d(x, offset, mask, weight, bias, *geometry)
        inputs = [x, offset, weight, mask, bias]
    else:
        mask, bias = torch.ones(2, deform_groups * 9, rows, cols, dtype=torch.float64), None
        fast = deform_conv2d(x, offset, weight, *geometry)
        inputs = [x, offset, weight]
    slow = slow_deform_conv(x, offset, mask, weight, bias, stride, padding, dilation, groups)
    torch.testing.assert_close(fast, slow)
    direction = torch.randn_like(slow)
    for a, b in zip(
        torch.autograd.grad((fast * direction).sum(), inputs),
        torch.autograd.grad((slow * direction).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("modulated", [True, False])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_offsets_that_are_no_numbers_point_outside(modulated, value):
    # torchvision's kernel alone reads beside its memory for NaN, which may end the process.
    x, weight = double(1, 4, 7, 6), double(6, 4, 3, 3, seed=1)
    broken = double(1, 18, 7, 6, seed=2, grad=False)
    broken[0, 8] = float(value)
    outside = broken.clone()
    outside[0, 8] = 1000
    mask = (torch.ones(1, 9, 7, 6, dtype=torch.float64),) if modulated else ()
    results = []
    for offset in (broken, outside):
        offset.requires_grad_()
        layer = modulated_deform_conv2d if modulated else deform_conv2d
        args = (x, offset, *mask, weight, *((None,) if modulated else ()), 1, 1)
        output = layer(*args)
        results.append((output, *torch.autograd.grad(output.square().sum(), (x, weight, offset))))
    for actual, expected in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("layer", [DeformConv2dPack, ModulatedDeformConv2dPack])
def test_deform_conv_layers_under_autocast(layer):
    torch.manual_seed(0)
    conv = layer(4, 4, 3, padding=1)
    x = torch.randn(2, 4, 6, 6, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = conv(x)
    out.float().sum().backward()
    torch.testing.assert_close(out.float(), conv(x), rtol=0.05, atol=0.05)
    assert x.grad.isfinite().all()
    assert all(p.grad is not None for p in conv.parameters())


# CARAFE ----------------------------------------------------------------------------------------


def slow_carafe(features, masks, kernel_size, group_size, scale):
    batch, channels, height, width = features.shape
    radius = kernel_size // 2
    padded = F.pad(features, [radius] * 4)
    output = torch.zeros(batch, channels, height * scale, width * scale, dtype=features.dtype)
    for c in range(channels):
        group = c // (channels // group_size)
        for y in range(height * scale):
            for x in range(width * scale):
                window = padded[:, c, y // scale :, x // scale :][:, :kernel_size, :kernel_size]
                taps = masks[:, group * kernel_size**2 :, y, x][:, : kernel_size**2]
                output[:, c, y, x] = (window.flatten(1) * taps).sum(dim=1)
    return output


@pytest.mark.parametrize(("kernel", "groups", "scale"), [(3, 1, 2), (5, 2, 2), (1, 4, 3)])
def test_carafe_against_definition(kernel, groups, scale):
    features = double(2, 4, 3, 4)
    masks = double(2, groups * kernel**2, 3 * scale, 4 * scale, seed=1)
    fast = CARAFE(kernel, groups, scale)(features, masks)
    slow = slow_carafe(features, masks, kernel, groups, scale)
    torch.testing.assert_close(fast, slow)
    torch.testing.assert_close(CARAFENaive(kernel, groups, scale)(features, masks), slow)
    direction = torch.randn_like(slow)
    for a, b in zip(
        torch.autograd.grad((fast * direction).sum(), (features, masks)),
        torch.autograd.grad((slow * direction).sum(), (features, masks)),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_carafe_upsampler_trains_under_autocast():
    torch.manual_seed(0)
    upsample = mmcv.ops.CARAFEPack(8, 2)
    x = torch.randn(1, 8, 5, 5, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = upsample(x)
    assert out.shape == (1, 8, 10, 10)
    out.float().square().sum().backward()
    assert x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in upsample.parameters())


# Focal loss and attention ----------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [True, False])
def test_sigmoid_focal_loss_against_definition(weighted):
    logits = (double(20, 4, grad=False) * 5).requires_grad_()
    target = torch.arange(20) % 5  # 4 is background
    weight = torch.tensor([0.5, 1.0, 2.0, 3.0], dtype=torch.float64) if weighted else None
    one_hot = F.one_hot(target, 5)[:, :4].double()
    p = logits.sigmoid()
    slow = -(one_hot * 0.25 * (1 - p) ** 2 * p.log() + (1 - one_hot) * 0.75 * p**2 * (1 - p).log())
    if weighted:
        slow = slow * torch.cat([weight, torch.ones(1)])[target][:, None]
    fast = sigmoid_focal_loss(logits, target, 2.0, 0.25, weight, "none")
    torch.testing.assert_close(fast, slow)
    for reduction, total in (("sum", slow.sum()), ("mean", slow.sum() / 20)):
        reduced = sigmoid_focal_loss(logits, target, 2.0, 0.25, weight, reduction)
        torch.testing.assert_close(reduced, total)
        torch.testing.assert_close(
            torch.autograd.grad(reduced, logits)[0],
            torch.autograd.grad(total, logits, retain_graph=True)[0],
        )


def test_sigmoid_focal_loss_of_extreme_logits_is_finite():
    logits = torch.tensor([[200.0, -200.0]], requires_grad=True)
    for target in (0, 1, 2):
        loss = sigmoid_focal_loss(logits, torch.tensor([target]), 2.0, 0.25, None, "sum")
        (grad,) = torch.autograd.grad(loss, logits)
        assert loss.isfinite()
        assert grad.isfinite().all()


def test_deformable_attention_against_mmcv():
    shapes = torch.tensor([[4, 5], [2, 3]])
    value = double(2, 26, 2, 3)
    places = torch.rand(2, 7, 2, 2, 4, 2, dtype=torch.float64).requires_grad_()
    weights = double(2, 7, 2, 2, 4, seed=2)
    starts = torch.tensor([0, 20])
    fast = MultiScaleDeformableAttnFunction.apply(value, shapes, starts, places, weights, 64)
    slow = multi_scale_deformable_attn_pytorch(value, shapes, places, weights)
    torch.testing.assert_close(fast, slow)
    for a, b in zip(
        torch.autograd.grad(fast.square().sum(), (value, places, weights)),
        torch.autograd.grad(slow.square().sum(), (value, places, weights)),
        strict=True,
    ):
        torch.testing.assert_close(a, b)
