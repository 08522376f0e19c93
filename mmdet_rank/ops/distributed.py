"""Ranking over the examples of all processes, at a cost that does not depend on their number.

Everybody learns everybody's positives (a few thousand numbers), puts its own negatives into the
intervals of the common knots, and one sum over the processes completes the histogram. All ranks
are then known everywhere, and each process computes the gradient of its own examples.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from .knots import Histogram


def world_size() -> int:
    """Number of processes of the default group, 1 without one."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gather_rows(rows: Tensor) -> tuple[Tensor, slice]:
    """Concatenate the columns of an (R, P) tensor over all processes, in order of rank.

    P may differ between processes and be 0. Takes two collectives and one host sync.

    Returns:
        The (R, P_all) tensor, equal on all processes, and the slice of one's own columns.
    """
    sizes = rows.new_zeros(world_size(), dtype=torch.int64)
    own = torch.tensor([rows.shape[1]], device=rows.device)
    dist.all_gather_into_tensor(sizes, own)
    sizes = sizes.tolist()
    padded = rows.new_zeros(max(sizes), rows.shape[0])
    padded[: rows.shape[1]] = rows.T
    gathered = rows.new_empty(len(sizes) * max(sizes), rows.shape[0])
    if max(sizes):
        dist.all_gather_into_tensor(gathered, padded)
    parts = gathered.view(len(sizes), max(sizes), rows.shape[0])
    columns = torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])
    begin = sum(sizes[: dist.get_rank()])
    return columns.T.contiguous(), slice(begin, begin + rows.shape[1])


def reduce_histogram(histogram: Histogram) -> Histogram:
    """Sum of all processes' histograms over the same knots, in one collective."""
    # Counts below 2**53 are exact in float64, so that one message carries both.
    both = torch.stack([histogram.counts.to(histogram.offsets.dtype), histogram.offsets])
    dist.all_reduce(both)
    return Histogram(both[0].round().to(torch.int64), both[1])
