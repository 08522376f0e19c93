"""The two passes over all examples: put the negatives into intervals, and hand out gradients."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from .knots import Histogram, KnotTable

# Examples per step on a CPU: the temporaries of one step stay in its cache, and bounded memory
# is what lets 20 million logits through.
_CHUNK = 1 << 17


@dataclass
class LocatedNegatives:
    """Negatives with their intervals, as ``scatter_spread`` needs them again.

    Attributes:
        num_examples: Length of the flat tensors that the positions refer to.
        positions: Per chunk, places of its kept examples in the flat tensors; None where all of
            the chunk is kept.
        intervals: Per chunk, int32 interval of each kept example.
        distances: Per chunk, distance of each kept example from its interval's left edge.
    """

    num_examples: int
    positions: list[Tensor | None] = field(default_factory=list)
    intervals: list[Tensor] = field(default_factory=list)
    distances: list[Tensor] = field(default_factory=list)


def locate_negatives(
    logits: Tensor, targets: Tensor, table: KnotTable
) -> tuple[Histogram, LocatedNegatives]:
    """Histogram over the knots of all examples with ``targets == 0``.

    Args:
        logits: (N,) any floating dtype.
        targets: (N,) as the losses take them.
        table: Knots of the positives.

    Returns:
        The histogram (counts int64, offsets wide float) and what ``scatter_spread`` needs. The
        lowest interval holds no trustworthy count: nothing ever reads it.
    """
    # On a CPU it pays to drop at once what lies below all knots, most negatives of a trained
    # model; elsewhere a selection would make the host wait for its size.
    select = logits.device.type == "cpu"
    located = LocatedNegatives(logits.numel())
    counts = torch.zeros(table.num_intervals, dtype=torch.int64, device=logits.device)
    offsets = torch.zeros(table.num_intervals, dtype=table.scores.dtype, device=logits.device)
    dtype, lowest = table.knots.dtype, table.knots[0]
    step = _CHUNK if select else max(logits.numel(), 1)
    for begin in range(0, logits.numel(), step):
        chunk = logits[begin : begin + step].to(dtype)
        kept = targets[begin : begin + step] == 0
        if select:
            kept &= chunk >= lowest
            place = kept.nonzero().squeeze(1)
            interval, distance = table.locate(chunk.index_select(0, place))
            located.positions.append(place.add_(begin))
        else:
            interval, distance = table.locate(chunk.masked_fill(~kept, -torch.inf))
            located.positions.append(None)
        counts += torch.bincount(interval, minlength=table.num_intervals)
        offsets.scatter_add_(0, interval.long(), distance.to(offsets.dtype))
        located.intervals.append(interval)
        located.distances.append(distance)
    return Histogram(counts, offsets), located


def scatter_spread(located: LocatedNegatives, values: Tensor, slopes: Tensor) -> Tensor:
    """``x -> sum_i w_i H(x - s_i)`` at every located negative, 0 elsewhere: (N,).

    Args:
        located: From ``locate_negatives``.
        values: (K + 1,) from ``KnotTable.spread``.
        slopes: (K + 1,) likewise.
    """
    dtype = located.distances[0].dtype if located.distances else values.dtype
    values, slopes = values.to(dtype), slopes.to(dtype)
    spread = values.new_zeros(located.num_examples)
    begin = 0
    for place, interval, distance in zip(
        located.positions, located.intervals, located.distances, strict=True
    ):
        part = torch.addcmul(
            values.index_select(0, interval), slopes.index_select(0, interval), distance
        )
        if place is None:
            spread[begin : begin + part.numel()] = part
            begin += part.numel()
        else:
            spread.index_copy_(0, place, part)
    return spread
