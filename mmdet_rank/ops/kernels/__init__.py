"""Triton kernels behind the ranking sums, for CUDA devices; the torch code is their reference.

A loss and its gradient are seven launches: sort the knots, count the negatives into the intervals
between them and add up, two for all sums over pairs of positives, one for the tables of the
gradient, and one to write it. Between the passes over the N logits two bytes of each are kept, the
host never waits, and all that programs add up together are integers, so that results do not depend
on the order of programs.

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


#: The kernels compare every pair of positives, in float64. Of more than these, which only ranking
#: over many processes has, the torch code's sums in O(P log P) are the safer choice; and the number
#: of an interval fits into 15 bits.
MOST_POSITIVES = 16_000
#: The same where float64 has 1/32 or 1/64 of the speed of float32.
MOST_POSITIVES_AT_SLOW_FLOAT64 = 4096
#: Compute capabilities with fast float64.
_FAST_FLOAT64 = {(6, 0), (7, 0), (8, 0), (9, 0), (10, 0)}


def use_kernels(device: torch.device, num_positives: int) -> bool:
    """Whether the kernels do the work on this device, for so many positives."""
    if os.environ.get("MMDET_RANK_KERNELS") == "0" or not _has_triton():
        return False
    if num_positives > MOST_POSITIVES:
        return False
    if device.type == "cuda":
        return num_positives <= _most_positives(device) and why_not(device) is None
    return device.type == "cpu" and _interpreted()


@functools.cache
def _most_positives(device: torch.device) -> int:
    # Only what a device says of itself, so that a broken one is found by why_not.
    try:
        capability = torch.cuda.get_device_capability(device)
    except (AssertionError, RuntimeError):
        return MOST_POSITIVES
    return MOST_POSITIVES if capability in _FAST_FLOAT64 else MOST_POSITIVES_AT_SLOW_FLOAT64


@functools.cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


@functools.cache
def _interpreted() -> bool:
    return os.environ.get("TRITON_INTERPRET") == "1"


@functools.cache
def why_not(device: torch.device) -> str | None:
    """The reason why Triton cannot build and start kernels for the device; None: it can.

    It needs a C compiler and a GPU and driver that it supports, which shows only when it is used.
    A failure warns once; a lack of memory, which may be over the next time, is not remembered.
    """
    try:
        _check_version()
        from .knots import SortedKnots

        SortedKnots(torch.ones(1, device=device), 0.5, 1)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        warnings.warn(
            f"Ranking losses take the slower torch code on {device}, because Triton cannot run "
            f"kernels there ({reason}). Install what is missing, such as a C compiler, or set "
            "MMDET_RANK_KERNELS=0 to stop trying them.",
            stacklevel=2,
        )
        return reason
    return None


def _check_version() -> None:
    import triton

    major, minor = map(int, triton.__version__.split(".")[:2])
    if (major, minor) < OLDEST_TRITON:
        oldest = ".".join(map(str, OLDEST_TRITON))
        raise ImportError(f"expected Triton {oldest} or newer, got {triton.__version__}")
