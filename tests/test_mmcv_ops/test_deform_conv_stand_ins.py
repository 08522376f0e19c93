"""Stand-ins for deformable convolution, against slow definitions."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from mmcv.ops import (
    DeformConv2dPack,
    ModulatedDeformConv2dPack,
    deform_conv2d,
    modulated_deform_conv2d,
)
from operator_inputs import double

from mmdet_rank import mmcv_ops

pytestmark = pytest.mark.skipif(
    not mmcv_ops.is_stand_in(), reason="mmcv has compiled operators, which are used"
)


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


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_offsets_that_are_no_numbers_in_half_precision(dtype):
    x, weight = torch.randn(1, 4, 7, 6, dtype=dtype), torch.randn(6, 4, 3, 3, dtype=dtype)
    offset = torch.zeros(1, 18, 7, 6, dtype=dtype)
    offset[0, 8, 2, 3] = float("nan")
    offset.requires_grad_()
    (grad,) = torch.autograd.grad(deform_conv2d(x, offset, weight, 1, 1).float().sum(), offset)
    assert grad.isfinite().all()


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
