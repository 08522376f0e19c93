"""Sums of the smoothed step over many examples, exact in O((P + N) log P).

The step H is linear between -delta and delta and constant outside. So, as a function of a score x,
``sum_i w_i H(x - s_i)`` over P scores s_i is piecewise linear with knots at ``s_i - delta`` and
``s_i + delta``; and ``sum_j H(x_j - s_i)`` over N examples needs from those that fall between two
neighbouring knots no more than their number and the sum of their scores. With every example in
its interval (a search among 2P knots), suffix sums over the intervals give all P counts, and
running sums of slopes give the adjoint at all N examples. Nothing is approximated.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from .grid import KnotGrid
from .histogram import Histogram
from .kernels import use_kernels
from .positives import running_sum


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
        self.uses_kernels = dtype == torch.float32 and use_kernels(scores.device, scores.numel())
        on_cpu = scores.device.type == "cpu" and not self.uses_kernels
        self._grid = KnotGrid(self.knots) if on_cpu else None

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
        if self._grid is not None:
            points = self._grid.clamp(points)
            interval = self._grid.search(points)
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
        if self.uses_kernels:
            from .kernels.sums import count

            return count(self, histogram)
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
        moments[0] = 0
        moments[-1] = 0
        moments = running_sum(moments)
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
        if self.uses_kernels:
            from .kernels.sums import spread

            return spread(self, weights)
        change = weights.new_zeros(self.num_intervals + 1)
        if self.delta == 0:
            values = change.scatter_(0, self.lower, weights).cumsum(0)[:-1]
            return values, torch.zeros_like(values)
        rise = weights / (2 * self.delta)
        change.scatter_(0, self.lower, rise).scatter_(0, self.upper, -rise)
        slopes = change.cumsum(0)[:-1]
        # Nothing rises outside the knots; what is left there is rounding.
        slopes[0] = 0
        slopes[-1] = 0
        widths = self.knots.to(weights.dtype).diff()
        climbs = (slopes[1:-1] * widths).cumsum(0)
        return torch.cat([climbs.new_zeros(2), climbs]), slopes
