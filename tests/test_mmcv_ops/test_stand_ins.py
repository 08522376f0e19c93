"""Stand-ins for what mmcv compiles: how they are found, and CARAFE, focal loss, attention."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys

import mmcv.ops
import pytest
import torch
import torch.nn.functional as F
from mmcv.ops import (
    CARAFE,
    CARAFENaive,
    roi_align,
    sigmoid_focal_loss,
)
from mmcv.ops.multi_scale_deform_attn import (
    MultiScaleDeformableAttnFunction,
    multi_scale_deformable_attn_pytorch,
)
from operator_inputs import double

from mmdet_rank import mmcv_ops

pytestmark = pytest.mark.skipif(
    not mmcv_ops.is_stand_in(), reason="mmcv has compiled operators, which are used"
)


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
