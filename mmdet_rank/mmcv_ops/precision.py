"""Shared care for number formats: what the kernels compute in."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor


def widen(*tensors: Tensor) -> list[Tensor]:
    """Cast to one dtype that every kernel has, at least float32.

    torchvision's kernels have no bfloat16, on CPU no float16 either, and want one dtype for all
    inputs, while autocast hands over a mixture.

    Args:
        *tensors: Floating-point tensors.

    Returns:
        The tensors as float64 if any of them is float64, else as float32, contiguous.
    """
    dtype = torch.float64 if any(t.dtype == torch.float64 for t in tensors) else torch.float32
    return [tensor.to(dtype).contiguous() for tensor in tensors]


def without_autocast(tensor: Tensor) -> AbstractContextManager:
    """Switch autocast off for the device of `tensor`, so that `widen` has the last word."""
    return torch.autocast(device_type=tensor.device.type, enabled=False)
