"""Triton kernels behind the ranking sums, for CUDA devices; the torch code is their reference.

Two passes over the N logits, one to count the negatives into the intervals between knots and one
to write the gradient, and three sums over P or 2P numbers, each written down as its definition.
Nothing of N entries is stored between the passes, the host never waits, and all that programs add
up together are integers, so that results do not depend on the order of programs.

Triton comes with CUDA builds of torch on Linux. Where it is missing, older than 3.3 (torch 2.7) or
cannot compile, for float64 logits, and beyond ``MOST_POSITIVES``, the torch code does the work;
``MMDET_RANK_KERNELS=0`` leaves all to it. ``TRITON_INTERPRET=1`` runs the kernels on CPU tensors,
for tests.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import warnings

import torch

#: Older ones have never run the tests of the kernels; torch 2.7 comes with this one.
OLDEST_TRITON = (3, 3)


#: The kernels compare every pair of positives. Of more than these, which only ranking over very
#: many processes has, the torch code's sums in O(P log P) are the safer choice.
MOST_POSITIVES = 1 << 15


def use_kernels(device: torch.device, num_positives: int) -> bool:
    """Whether the kernels do the work on this device, for so many positives."""
    if os.environ.get("MMDET_RANK_KERNELS") == "0" or not _has_triton():
        return False
    if num_positives > MOST_POSITIVES:
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
        _check_version()
        from .sums import sums_over_positives

        one = torch.ones(1, 1, dtype=torch.float64, device=device)
        sums_over_positives(one[0], one, 0.5)
    except Exception as error:
        warnings.warn(
            f"Ranking losses take the slower torch code on {device}, because Triton cannot run "
            f"kernels there ({type(error).__name__}: {error}). Install what is missing, such as a "
            "C compiler, or set MMDET_RANK_KERNELS=0 to have this no more.",
            stacklevel=2,
        )
        return False
    return True


def _check_version() -> None:
    import triton

    major, minor = map(int, triton.__version__.split(".")[:2])
    if (major, minor) < OLDEST_TRITON:
        oldest = ".".join(map(str, OLDEST_TRITON))
        raise ImportError(f"expected Triton {oldest} or newer, got {triton.__version__}")
