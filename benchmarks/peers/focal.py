"""The score-based loss that one-stage detectors are trained with."""

import functools
import importlib.util

import torch
from torchvision.ops import sigmoid_focal_loss


def focal(logits, targets):
    """torchvision's focal loss on the same logits, positives as its class 1."""
    return sigmoid_focal_loss(logits, (targets > 0).to(logits.dtype), reduction="sum")


@functools.cache
def _compile():
    return torch.compile(focal, dynamic=False)


def compiled_focal(logits, targets):
    """The same in the fused kernels that torch's compiler writes for these sizes."""
    return _compile()(logits, targets)


@functools.cache
def mmcv_has_focal():
    """Whether mmcv is here with its compiled operators."""
    if importlib.util.find_spec("mmcv") is None:
        return False
    return importlib.util.find_spec("mmcv._ext") is not None


def mmcv_focal(logits, targets):
    """mmcv's CUDA kernel, one class a row: class 0 for positives, background for all others."""
    from mmcv.ops import sigmoid_focal_loss as fused

    return fused(logits[:, None], (targets <= 0).long(), 2.0, 0.25, None, "sum")
