"""Triton kernels behind the ranking sums, for CUDA devices; the torch code is their reference.

Two passes over the N logits, one to count the negatives into the intervals between knots and one
to write the gradient, and three sums over P or 2P numbers, each written down as its definition.
Nothing of N entries is stored between the passes, the host never waits, and all that programs add
up together are integers, so that results do not depend on the order of programs.

Triton comes with CUDA builds of torch on Linux. Where it is missing, and for float64 logits, the
torch code does the work. ``TRITON_INTERPRET=1`` runs the kernels on CPU tensors, for tests.
"""

from __future__ import annotations

import functools
import importlib.util
import os

import torch


def use_kernels(device: torch.device) -> bool:
    """Whether the kernels do the work on this device."""
    if not _has_triton():
        return False
    return device.type == "cuda" or (device.type == "cpu" and _interpreted())


@functools.cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


@functools.cache
def _interpreted() -> bool:
    return os.environ.get("TRITON_INTERPRET") == "1"
