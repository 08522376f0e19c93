"""Where mmcv has compiled operators, the stand-ins agree with them."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import mmcv.ops
import pytest
import torch

from mmdet_rank import mmcv_ops
from mmdet_rank.mmcv_ops import table

pytestmark = [
    pytest.mark.compiled_mmcv,
    pytest.mark.skipif(mmcv_ops.is_stand_in(), reason="mmcv has no compiled operators"),
]
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]
CUDA_ONLY = ("carafe", "sigmoid_focal_loss", "ms_deform_attn")


def tensors(device: str, *shapes: tuple[int, ...]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(*shape, generator=generator).to(device).requires_grad_() for shape in shapes
    ]


def boxes_and_scores(device: str) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(80, 2, generator=generator) * 40
    boxes = torch.cat([corner, corner + 2 + 20 * torch.rand(80, 2, generator=generator)], dim=1)
    return boxes.to(device), torch.rand(80, generator=generator).to(device)


def rois(device: str) -> torch.Tensor:
    boxes, _ = boxes_and_scores(device)
    batch = torch.arange(80, device=device)[:, None] % 2
    return torch.cat([batch, boxes], dim=1)


def run_nms(device):
    return [*mmcv.ops.nms(*boxes_and_scores(device), 0.4, 1)], []


def run_roi_align(device, aligned):
    (x,) = tensors(device, (2, 3, 16, 16))
    return [mmcv.ops.roi_align(x, rois(device), (2, 3), 0.25, 0, "avg", aligned)], [x]


def run_deform_conv(device):
    x, offset, weight = tensors(device, (2, 4, 8, 9), (2, 36, 4, 5), (6, 2, 3, 3))
    return [mmcv.ops.deform_conv2d(x, offset, weight, 2, 1, 1, 2, 2)], [x, offset, weight]


def run_modulated_deform_conv(device):
    inputs = tensors(device, (2, 4, 8, 9), (2, 36, 4, 5), (2, 18, 4, 5), (6, 2, 3, 3), (6,))
    return [mmcv.ops.modulated_deform_conv2d(*inputs, 2, 1, 1, 2, 2)], inputs


def run_carafe(device):
    x, masks = tensors(device, (2, 8, 5, 6), (2, 50, 10, 12))
    return [mmcv.ops.carafe(x, masks, 5, 2, 2)], [x, masks]


def run_sigmoid_focal_loss(device):
    (logits,) = tensors(device, (30, 4))
    target = (torch.arange(30) % 5).to(device)
    return [mmcv.ops.sigmoid_focal_loss(logits, target, 2.0, 0.25, None, "none")], [logits]


def run_ms_deform_attn(device):
    value, places, weights = tensors(device, (2, 26, 2, 4), (2, 7, 2, 2, 4, 2), (2, 7, 2, 2, 4))
    shapes = torch.tensor([[4, 5], [2, 3]], device=device)
    starts = torch.tensor([0, 20], device=device)
    function = mmcv.ops.multi_scale_deform_attn.MultiScaleDeformableAttnFunction
    return [function.apply(value, shapes, starts, places.sigmoid(), weights, 64)], [
        value,
        places,
        weights,
    ]


CASES = {
    "nms": (run_nms,),
    "roi_align-aligned": (run_roi_align, True),
    "roi_align-legacy": (run_roi_align, False),
    "deform_conv": (run_deform_conv,),
    "modulated_deform_conv": (run_modulated_deform_conv,),
    "carafe": (run_carafe,),
    "sigmoid_focal_loss": (run_sigmoid_focal_loss,),
    "ms_deform_attn": (run_ms_deform_attn,),
}


def results(case: str, device: str) -> list[torch.Tensor]:
    """Outputs and gradients of one operator."""
    function, *options = CASES[case]
    outputs, inputs = function(device, *options)
    if not inputs:
        return outputs
    torch.manual_seed(1)
    direction = torch.randn(outputs[0].shape).to(device)
    return [*outputs, *torch.autograd.grad((outputs[0] * direction).sum(), inputs)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("case", CASES)
def test_stand_in_equals_compiled(case, device, monkeypatch):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    if device == "cpu" and case in CUDA_ONLY:
        pytest.skip("mmcv has this operator for CUDA alone")
    compiled = results(case, device)
    stand_ins = SimpleNamespace(**table.STAND_INS)
    for name, module in list(sys.modules.items()):
        if name.startswith("mmcv.ops.") and hasattr(module, "ext_module"):
            monkeypatch.setattr(module, "ext_module", stand_ins)
    ours = results(case, device)
    assert len(ours) == len(compiled)
    for mine, theirs in zip(ours, compiled, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)
