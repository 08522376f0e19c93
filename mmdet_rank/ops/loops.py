"""The passes over many logits on a CPU as plain loops, compiled by numba where it is installed.

torch needs a dozen passes for what one loop does while a number is in a register. The loops give
the very intervals and counts of ``LocatedNegatives`` and ``_sums_of_lower_ranks``; sums of floats
differ in their last digits. Cuts into pieces do not depend on the number of threads, so that
results do not either. numba is loaded with the first large call, which compiles for some seconds,
once per machine; ``MMDET_RANK_LOOPS=0`` leaves all to torch, as does a missing numba.
"""

from __future__ import annotations

import functools
import importlib.util
import os
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

#: Fewer logits, or positives, are too few to wait for numba.
LEAST_LOGITS = 1 << 15
LEAST_POSITIVES = 1 << 9
_PIECE = 1 << 18


def useful(values: Tensor, least: int) -> bool:
    """Whether loops are the fast way for these values, if there are ``least`` of them."""
    return (
        values.device.type == "cpu"
        and values.numel() >= least
        and values.dtype in (torch.float32, torch.float64)
        and os.environ.get("MMDET_RANK_LOOPS") != "0"
        and compiled() is not None
    )


@functools.cache
def compiled():
    """The compiled loops, or None where numba is missing or does not work."""
    if importlib.util.find_spec("numba") is None:
        return None
    try:
        from . import compiled_loops
    except Exception:  # a numba that does not fit its NumPy, no place for its cache
        return None
    return compiled_loops


def sums_of_lower(carried: Tensor, labels: Tensor, borders: Tensor) -> Tensor:
    """For each place and border, sums over the places before the border with a lower label.

    Args:
        carried: (R, P) what to sum, by place, float64.
        labels: (P,) float64.
        borders: (B, P) places in [0, P].

    Returns:
        (R, B, P) sums.
    """
    values, order = labels.sort()
    group_ends = torch.searchsorted(values, values, right=True)
    sums = torch.zeros(*borders.shape, carried.shape[0], dtype=carried.dtype)
    compiled().add_lower(
        carried.T.contiguous().numpy(),
        order.numpy(),
        group_ends.numpy(),
        borders.contiguous().numpy(),
        sums.numpy(),
    )
    return sums.permute(2, 0, 1)


def in_pieces(work, size: int) -> list:
    """Results of ``work(begin, end)`` on pieces of a fixed size, by as many threads as torch."""
    begins = range(0, size, _PIECE)
    ends = [min(begin + _PIECE, size) for begin in begins]
    threads = min(torch.get_num_threads(), len(begins))
    if threads == 1:
        return [work(begin, end) for begin, end in zip(begins, ends, strict=True)]
    return list(_pool(threads, os.getpid()).map(work, begins, ends))


@functools.cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Threads of this process: a fork has none of its parent's."""
    return ThreadPoolExecutor(threads, thread_name_prefix="mmdet_rank")
