"""The two passes over all examples: put the negatives into intervals, and hand out gradients."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from . import loops
from .knots import Histogram, KnotTable
from .roles import Roles

# Examples per step on a CPU: the temporaries of one step stay in its cache, bounded memory is what
# lets 20 million logits through, and torch starts no threads for so few, which on a machine in use
# wait for each other longer than they work.
_CHUNK = 1 << 15


def locate_negatives(
    logits: Tensor, roles: Roles, table: KnotTable
) -> LocatedNegatives | LoopedNegatives:
    """The negatives of a batch among the knots of its positives, by loops where these pay."""
    if loops.useful(logits, loops.LEAST_LOGITS):
        return LoopedNegatives(logits, roles, table)
    return LocatedNegatives(logits, roles, table)


class LocatedNegatives:
    """The negatives of a batch in the intervals between the knots of its positives.

    Args:
        logits: (N,) any floating dtype.
        roles: Which of them are negatives.
        table: Knots of the positives.

    Attributes:
        histogram: Negatives by interval: counts int64, offsets wide float. The lowest interval
            holds no trustworthy count: nothing ever reads it.
    """

    def __init__(self, logits: Tensor, roles: Roles, table: KnotTable) -> None:
        on_cpu = logits.device.type == "cpu"
        self._step = _CHUNK if on_cpu else max(logits.numel(), 1)
        counts = torch.zeros(table.num_intervals, dtype=torch.int64, device=logits.device)
        offsets = torch.zeros(table.num_intervals, dtype=table.scores.dtype, device=logits.device)
        self._chunks = []
        others = self._others(roles, logits.numel())
        for chunk, places in zip(logits.split(self._step), others, strict=True):
            chunk = chunk.to(table.knots.dtype)
            kept = (chunk >= table.knots[0]).index_fill_(0, places, False)
            place = None
            # What lies below all knots, most of a trained model's negatives, is dropped at once,
            # unless it is too little; other devices would make the host wait for its number.
            if on_cpu and 16 * int(kept.count_nonzero()) < 15 * kept.numel():
                place = kept.nonzero().squeeze(1)
                chunk = chunk.index_select(0, place)
            else:
                chunk = torch.where(kept, chunk, -torch.inf)
            interval, distance = table.locate(chunk)
            counts += torch.bincount(interval, minlength=table.num_intervals)
            if table.delta > 0:
                offsets += torch.bincount(
                    interval, distance.to(offsets.dtype), minlength=table.num_intervals
                )
            self._chunks.append((place, interval, distance))
        self.histogram = Histogram(counts, offsets)

    def _others(self, roles: Roles, size: int) -> list[Tensor]:
        """By chunk, where in it those are that are not negatives."""
        if size <= self._step:
            return [roles.others]
        begins = torch.arange(self._step, size, self._step)
        borders = torch.searchsorted(roles.others, begins).tolist()
        parts = roles.others.tensor_split(borders)
        return [part - self._step * chunk for chunk, part in enumerate(parts)]

    def spread(self, logits: Tensor, values: Tensor, slopes: Tensor) -> Tensor:
        """``x -> sum_i w_i H(x - s_i)`` at every negative, 0 elsewhere.

        Args:
            logits: (N,) as they were given before; their dtype is the result's.
            values: (K + 1,) from ``KnotTable.spread``.
            slopes: (K + 1,) likewise.
        """
        spread = logits.new_zeros(logits.numel())
        for out, (place, interval, distance) in zip(
            spread.split(self._step), self._chunks, strict=True
        ):
            values, slopes = values.to(distance.dtype), slopes.to(distance.dtype)
            part = torch.addcmul(
                values.index_select(0, interval), slopes.index_select(0, interval), distance
            )
            if place is None:
                out.copy_(part)
            else:
                out.scatter_(0, place, part.to(out.dtype))
        return spread


class LoopedNegatives:
    """Like ``LocatedNegatives``, in one loop per pass; keeps the interval of each logit.

    Args:
        logits: (N,) float32 or float64, on the CPU.
        roles: Which of them are negatives.
        table: Knots of the positives, of the same dtype.

    Attributes:
        histogram: Negatives by interval.
    """

    def __init__(self, logits: Tensor, roles: Roles, table: KnotTable) -> None:
        grid = table.grid
        num_intervals = table.num_intervals
        self._left = table.left_edges.numpy()
        kind = np.uint16 if num_intervals <= 1 << 16 else np.int32
        self._intervals = np.empty(logits.numel(), kind)
        points, others = logits.detach().contiguous().numpy(), roles.others.numpy()
        knots = table.knots.numpy()
        number = points.dtype.type
        search = (grid.cells.numpy(), number(grid.low), number(grid.scale))

        def count(begin, end):
            counts, offsets = np.zeros(num_intervals, np.int64), np.zeros(num_intervals)
            loops.compiled().count(
                points,
                others,
                begin,
                end,
                knots,
                self._left,
                *search,
                self._intervals,
                counts,
                offsets,
            )
            return counts, offsets

        counts, offsets = zip(*loops.in_pieces(count, logits.numel()), strict=True)
        self.histogram = Histogram(
            torch.from_numpy(np.sum(counts, axis=0)), torch.from_numpy(np.sum(offsets, axis=0))
        )

    def spread(self, logits: Tensor, values: Tensor, slopes: Tensor) -> Tensor:
        """See ``LocatedNegatives.spread``."""
        gradient = torch.empty_like(logits, memory_format=torch.contiguous_format)
        points, out = logits.detach().contiguous().numpy(), gradient.numpy()
        tables = (table.to(logits.dtype).numpy() for table in (values, slopes))
        arguments = (points, self._intervals, self._left, *tables, out)
        loops.in_pieces(
            lambda begin, end: loops.compiled().write(*arguments, begin, end), logits.numel()
        )
        return gradient
