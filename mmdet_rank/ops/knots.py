"""Sums of the smoothed step over many examples, exact in O((P + N) log P).

The step H is linear between -delta and delta and constant outside. So, as a function of a score x,
``sum_i w_i H(x - s_i)`` over P scores s_i is piecewise linear with knots at ``s_i - delta`` and
``s_i + delta``; and ``sum_j H(x_j - s_i)`` over N examples needs from those that fall between two
neighbouring knots no more than their number and the sum of their scores. With every example in
its interval (a search among 2P knots), suffix sums over the intervals give all P counts, and
running sums of slopes give the adjoint at all N examples. Nothing is approximated.

A binary search takes a branch per step that processors cannot predict, about 50 ns for a
value among 2,000 knots. So the range of the knots is cut into equal cells, a table says how many
knots lie in cells below each, and what is left, the few knots of one's own cell, is searched by
steps that all values take together.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .positives import running_sum

_CELLS_PER_KNOT = 16
_MAX_CELLS = 1 << 16  # the table stays in the second-level cache


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


class KnotTable:
    """The knots of P scores and the sums over them.

    Args:
        scores: (P,) wide floats, P >= 1.
        delta: Half width of the step, at least 0.
        dtype: Dtype of the examples that will be searched among the knots.
    """

    def __init__(self, scores: Tensor, delta: float, dtype: torch.dtype) -> None:
        self.scores = scores
        self.delta = delta
        edges = torch.cat([scores - delta, scores + delta]) if delta > 0 else scores
        self.knots, order = edges.to(dtype).sort()
        place = torch.empty_like(order)
        place[order] = torch.arange(order.numel(), device=order.device)
        # An example is in the linear part of score i when its interval is in [lower, upper).
        self.lower = place[: scores.numel()] + 1
        self.upper = place[scores.numel() :] + 1 if delta > 0 else self.lower

    @functools.cached_property
    def grid(self) -> KnotGrid:
        """Search among the knots on a CPU."""
        return KnotGrid(self.knots)

    @functools.cached_property
    def left_edges(self) -> Tensor:
        """(K + 1,) left edge of each interval; of the lowest, its right one."""
        return torch.cat([self.knots[:1], self.knots])

    @property
    def num_intervals(self) -> int:
        """Number of intervals, the two unbounded ones included."""
        return self.knots.numel() + 1

    def locate(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Interval (int32) and distance from its left edge, for each point of the knots' dtype."""
        # Outside the knots the step is constant, so the distance there never matters; clamping
        # keeps it finite for infinite logits.
        if points.device.type == "cpu":
            points = self.grid.clamp(points)
            interval = self.grid.search(points)
        else:
            below = torch.nextafter(self.knots[0], self.knots.new_tensor(-torch.inf))
            points = torch.clamp(points, min=below, max=self.knots[-1])
            # What equals a knot belongs above it: H(0) = 1 for the hard step.
            interval = torch.searchsorted(self.knots, points, right=True, out_int32=True)
        return interval, points - self.left_edges.index_select(0, interval)

    def count(self, histogram: Histogram) -> tuple[Tensor, Tensor]:
        """``sum_j H(x_j - s_i)`` for every score i.

        Returns:
            The sums, (P,) wide floats, and whether any example counts for score i at all, (P,)
            bool, decided on integers.
        """
        running = running_sum(histogram.counts)
        above = running[-1] - running[self.upper]
        inside = running[self.upper] - running[self.lower]
        reached = above + inside > 0
        above, inside = above.to(self.scores.dtype), inside.to(self.scores.dtype)
        if self.delta == 0:
            return above, reached
        # Scores measured from the knots' middle: a shift of all logits changes no digit.
        center = self.scores.mean()
        left = self.left_edges.to(self.scores.dtype) - center
        moments = histogram.offsets + histogram.counts * left
        # Neither outer interval is ever in a linear part, and theirs may hold anything.
        moments = running_sum(_without_ends(moments))
        moment = moments[self.upper] - moments[self.lower]
        start = self.scores - self.delta - center
        partial = (moment - start * inside) / (2 * self.delta)
        return above + torch.minimum(partial.clamp(min=0), inside), reached

    def spread(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Tables of ``x -> sum_i w_i H(x - s_i)``: its value at each left edge, and its slope.

        Args:
            weights: (P,) wide floats, one per score.

        Returns:
            Values and slopes, floats, (K + 1,) each: at a point with interval b and distance d
            from the left edge, the sum is ``values[b] + slopes[b] * d``.
        """
        change = weights.new_zeros(self.num_intervals + 1)
        if self.delta == 0:
            values = change.scatter_(0, self.lower, weights).cumsum(0)[:-1]
            return values, torch.zeros_like(values)
        rise = weights / (2 * self.delta)
        change.scatter_(0, self.lower, rise).scatter_(0, self.upper, -rise)
        # Nothing rises outside the knots; what is left there is rounding.
        slopes = _without_ends(change.cumsum(0)[:-1])
        widths = self.knots.to(weights.dtype).diff()
        climbs = (slopes[1:-1] * widths).cumsum(0)
        return torch.cat([climbs.new_zeros(2), climbs]), slopes


def _without_ends(values: Tensor) -> Tensor:
    """The values, at least two, with the first and the last set to 0."""
    values[:: values.numel() - 1].zero_()
    return values


class KnotGrid:
    """Search among sorted knots on the CPU.

    A cell's number grows with the value, rounding included, so that all knots in lower cells are
    at most the value, and all in higher ones above it.

    Args:
        knots: (K,) sorted ascending, on the CPU.
    """

    def __init__(self, knots: Tensor) -> None:
        self.num_cells = min(_CELLS_PER_KNOT * knots.numel(), _MAX_CELLS)
        # Bounds as numbers: with tensors in their place torch clamps at a fifth of the speed, and
        # NumPy takes a number out of an array in a tenth of the time.
        ends = knots.numpy()
        self.low, self.high = float(ends[0]), float(ends[-1])
        self.below = float(np.nextafter(ends[0], -np.inf, dtype=ends.dtype))
        span = self.high - self.low
        # Equal or infinite knots share one cell, which costs steps, not correctness.
        largest = torch.finfo(knots.dtype).max
        usable = self.num_cells / largest < span < largest
        self.scale = (self.num_cells - 1) / span if usable else 0.0
        per_cell = torch.bincount(self._cell(knots), minlength=self.num_cells)
        # Knots in lower cells, by cell, one more than there are.
        self.cells = running_sum(per_cell).to(torch.int32)
        steps = int(per_cell.numpy().max()).bit_length()
        self.steps = [1 << bit for bit in reversed(range(steps))]
        self.knots = torch.nn.functional.pad(knots, (0, 1 << steps), value=torch.nan)

    def clamp(self, points: Tensor) -> Tensor:
        """The points, those outside of the knots moved to just below the first or to the last."""
        return points.clamp(self.below, self.high)

    def search(self, points: Tensor) -> Tensor:
        """Number of knots that are at most each point, int32; no point above the last knot."""
        count = self.cells.index_select(0, self._cell(points))
        for step in self.steps:
            jumped = self.knots[step - 1 :].index_select(0, count)
            count.add_(points >= jumped, alpha=step)
        return count

    def _cell(self, points: Tensor) -> Tensor:
        cell = (points - self.low).mul_(self.scale).to(torch.int32)
        return cell.clamp_(0, self.num_cells - 1)
