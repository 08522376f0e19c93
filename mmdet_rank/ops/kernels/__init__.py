"""Triton kernels behind the ranking sums, for CUDA devices; the torch code is their reference.

Two passes over the N logits, one to count the negatives into the intervals between knots and one
to write the gradient, and three sums over P or 2P numbers, each written down as its definition.
Nothing of N entries is stored between the passes, the host never waits, and all that programs add
up together are integers, so that results do not depend on the order of programs.

Triton comes with CUDA builds of torch on Linux. Where it is missing or cannot compile, and for
float64 logits, the torch code does the work; ``MMDET_RANK_KERNELS=0`` leaves all to it.
``TRITON_INTERPRET=1`` runs the kernels on CPU tensors, for tests.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import warnings

import torch


def use_kernels(device: torch.device) -> bool:
    """Whether the kernels do the work on this device."""
    if os.environ.get("MMDET_RANK_KERNELS") == "0" or not _has_triton():
        return False
    if device.type == "cuda":
        return _compiles(device)
    return device.type == "cpu" and _interpreted()


@functools.cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


@functools.cache
def _interpreted() -> bool:
    return os.environ.get("TRITON_INTERPRET") == "1"


@functools.cache
def _compiles(device: torch.device) -> bool:
    """Whether Triton can build kernels for the device and start them; a warning where it cannot.

    It asks for a C compiler and a GPU and driver of its liking, which shows only when it is used.
    """
    try:
        from .sums import sums_over_positives

        one = torch.ones(1, 1, dtype=torch.float64, device=device)
        sums_over_positives(one[0], one, 0.5)
    except Exception as error:
        warnings.warn(
            f"Ranking losses take the slower torch code on {device}, because Triton cannot run "
            f"kernels there ({type(error).__name__}: {error}). Install a C compiler, or set "
            "MMDET_RANK_KERNELS=0 to have this no more.",
            stacklevel=2,
        )
        return False
    return True
