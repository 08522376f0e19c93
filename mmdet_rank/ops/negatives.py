"""The two passes over all examples: put the negatives into intervals, and hand out gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from .histogram import Histogram
from .knots import KnotTable

# Examples per step on a CPU: the temporaries of one step stay in its cache, bounded memory is what
# lets 20 million logits through, and torch starts no threads for so few, which on a machine in use
# wait for each other longer than they work.
_CHUNK = 1 << 15


def locate_negatives(logits: Tensor, targets: Tensor, table: KnotTable) -> LocatedNegatives:
    """The negatives of a batch among the knots of its positives, by kernels where there are."""
    if table.uses_kernels:
        from .kernels.negatives import CountedNegatives

        return CountedNegatives(logits, targets, table)
    return LocatedNegatives(logits, targets, table)


class LocatedNegatives:
    """The negatives of a batch in the intervals between the knots of its positives.

    Args:
        logits: (N,) any floating dtype.
        targets: (N,) as the losses take them; those with 0 are negatives.
        table: Knots of the positives.

    Attributes:
        histogram: Negatives by interval: counts int64, offsets wide float. The lowest interval
            holds no trustworthy count: nothing ever reads it.
    """

    def __init__(self, logits: Tensor, targets: Tensor, table: KnotTable) -> None:
        on_cpu = logits.device.type == "cpu"
        self._step = _CHUNK if on_cpu else max(logits.numel(), 1)
        counts = torch.zeros(table.num_intervals, dtype=torch.int64, device=logits.device)
        offsets = torch.zeros(table.num_intervals, dtype=table.scores.dtype, device=logits.device)
        self._chunks = []
        for chunk, chunk_targets in zip(
            logits.split(self._step), targets.split(self._step), strict=True
        ):
            chunk = chunk.to(table.knots.dtype)
            kept = (chunk_targets == 0) & (chunk >= table.knots[0])
            place = None
            # What lies below all knots, most of a trained model's negatives, is dropped at once,
            # unless it is too little; other devices would make the host wait for its number.
            if on_cpu and 16 * kept.count_nonzero() < 15 * kept.numel():
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

    def spread(self, logits: Tensor, targets: Tensor, values: Tensor, slopes: Tensor) -> Tensor:
        """``x -> sum_i w_i H(x - s_i)`` at every negative, 0 elsewhere.

        Args:
            logits: (N,) as they were given before; their dtype is the result's.
            targets: (N,) as they were given before.
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
