"""Examples counted into the intervals between knots."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass
class Histogram:
    """Examples by interval: interval b is ``[knot b-1, knot b)``, 0 the lowest.

    Attributes:
        counts: (K + 1,) int64, number of examples. That of interval 0 may be anything: no sum of
            steps depends on it.
        offsets: (K + 1,) wide floats, sum of their distances from the interval's left edge; only
            that of intervals within some step's linear part means anything.
    """

    counts: Tensor
    offsets: Tensor
