"""Sums of the smoothed step over the positives, all of them or those with smaller labels.

For some hundred positives one P x P matrix of steps holds every sum that a loss asks for. For more:
on positives sorted by logit, those to be counted are one range of places, and prefix sums give
their number and the sum of their logits. The sorting error of RS Loss asks further for a smaller
*label*. A wavelet matrix over the labels' ranks answers "which of these places have a rank below
b" by walking down the digits of b, one table of prefix sums per digit: time O(P log P), memory
O(P), no P x P pairs, exact.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from . import loops

#: Up to so many positives the matrix is faster.
MOST_IN_A_MATRIX = 512

# Bits of a label's rank that one step of the walk decides. More bits: fewer but larger steps.
_BITS = 3


class PairSums:
    """Sums over pairs of positives: the sums of thesis Eq. 6.6, 8.4 and 8.6 and their adjoints.

    Args:
        scores: (P,) logits, wide floats.
        delta: Half width of the step, at least 0.
        labels: (P,) compared exactly, where sums over smaller labels are asked for.

    Example:
        >>> pairs = PairSums(torch.tensor([2.0, 1.0, 0.0]), 0.5, torch.tensor([0.2, 0.1, 0.9]))
        >>> pairs.outranking(torch.ones(1, 3))
        tensor([[0.5000, 1.5000, 2.5000]])
        >>> pairs.outranking_lower(torch.ones(1, 3))
        tensor([[0., 0., 2.]])
        >>> pairs.outranked_higher(torch.ones(1, 3))
        tensor([[1., 1., 0.]])
    """

    def __init__(self, scores: Tensor, delta: float, labels: Tensor | None = None) -> None:
        self.scores = scores
        self.delta = delta
        self.labels = labels
        self._small = scores.numel() <= MOST_IN_A_MATRIX

    def outranking(self, weights: Tensor) -> Tensor:
        """``sum_j w_j H(s_j - s_i)``, i itself included, for each row of weights (R, P)."""
        if self._small:
            return weights @ self._steps
        return sums_over_positives(self.scores, weights, self.delta)

    def outranked(self, weights: Tensor) -> Tensor:
        """``sum_i w_i H(s_j - s_i)`` for each j and each row of weights (R, P)."""
        if self._small:
            return weights @ self._steps.T
        return sums_over_positives(-self.scores, weights, self.delta)

    def outranking_lower(self, weights: Tensor) -> Tensor:
        """``outranking``, but only over the j with ``y_j < y_i``."""
        if self._small:
            return weights @ self._steps_of_lower
        return sums_over_positives(self.scores, weights, self.delta, self.labels)

    def outranked_higher(self, weights: Tensor) -> Tensor:
        """``outranked``, but only over the i with ``y_i > y_j``."""
        if self._small:
            return weights @ self._steps_of_lower.T
        # The same sums with the signs of logits and labels turned.
        return sums_over_positives(-self.scores, weights, self.delta, -self.labels)  # type: ignore[operator]

    @functools.cached_property
    def _steps(self) -> Tensor:
        """(P, P), H(s_j - s_i) in row j and column i."""
        difference = self.scores[:, None] - self.scores[None, :]
        if self.delta == 0:
            return (difference >= 0).to(difference.dtype)
        return difference.mul_(1 / (2 * self.delta)).add_(0.5).clamp_(0, 1)

    @functools.cached_property
    def _steps_of_lower(self) -> Tensor:
        return self._steps * (self.labels[:, None] < self.labels[None, :])  # type: ignore[index]


def sums_over_positives(
    scores: Tensor, weights: Tensor, delta: float, labels: Tensor | None = None
) -> Tensor:
    """``sum_j w_j H(s_j - s_i)``, with labels only over the j with ``y_j < y_i``.

    Args:
        scores: (P,) logits, wide floats.
        weights: (R, P) one row of weights per wanted sum, wide floats.
        delta: Half width of the step, at least 0.
        labels: (P,) compared exactly. Default: sum over all, i itself included.

    Returns:
        (R, P) sums, same dtype as ``weights``.

    Example:
        >>> scores, labels = torch.tensor([2.0, 1.0, 0.0]), torch.tensor([0.2, 0.1, 0.9])
        >>> sums_over_positives(scores, torch.ones(1, 3), 0.5, labels)
        tensor([[0., 0., 2.]])
    """
    # All in the order of the logits, in which also the searches for the borders are cheap.
    scores, order = scores.sort()
    weights = weights.index_select(1, order)
    # The three borders of "not counted", "linear part" and "counted whole".
    start = torch.searchsorted(scores, scores - delta)
    stop = torch.searchsorted(scores, scores + delta) if delta > 0 else start
    borders = torch.stack([start, stop, torch.full_like(start, scores.numel())])

    num_sums = weights.shape[0]
    center = scores.mean()
    carried = torch.cat([weights, weights * (scores - center)]) if delta > 0 else weights
    if labels is None:
        sums = running_sum(carried)[:, borders]
    elif loops.useful(scores, loops.LEAST_POSITIVES):
        sums = loops.sums_of_lower(carried, labels.index_select(0, order), borders)
    else:
        sums = _sums_of_lower_ranks(carried, _ranks(labels.index_select(0, order)), borders)

    result = (sums[:, 2] - sums[:, 1])[:num_sums]
    if delta > 0:
        count, moment = (sums[:, 1] - sums[:, 0]).split(num_sums)
        partial = (moment - (scores - delta - center) * count) / (2 * delta)
        result = result + torch.minimum(partial.clamp(min=0), count)
    return torch.empty_like(result).index_copy_(1, order, result)


def running_sum(values: Tensor) -> Tensor:
    """Sum of all entries before each position, one position more than there are entries."""
    return torch.nn.functional.pad(values.cumsum(-1), (1, 0))


def _ranks(values: Tensor) -> Tensor:
    """Number of smaller values, for each value."""
    values, order = values.sort()
    return torch.empty_like(order).index_copy_(0, order, torch.searchsorted(values, values))


def _sums_of_lower_ranks(carried: Tensor, ranks: Tensor, borders: Tensor) -> Tensor:
    """For each place and border, sums over the places before the border with a lower rank.

    Only differences between the borders of one place mean anything: every step also counts what
    other branches of the tree hold, the same for all borders.

    Args:
        carried: (R, P) what to sum, by place.
        ranks: (P,) int64 in [0, P).
        borders: (B, P) places in [0, P].

    Returns:
        (R, B, P) sums.
    """
    sums = carried.new_zeros(carried.shape[0], *borders.shape)
    bounds = ranks
    digits = torch.arange(1 << _BITS, device=ranks.device)[:, None]
    num_bits = max(ranks.numel() - 1, 1).bit_length()
    for shift in range((num_bits - 1) // _BITS * _BITS, -1, -_BITS):
        digit = (ranks >> shift) & (len(digits) - 1)
        bound = (bounds >> shift) & (len(digits) - 1)
        # All that share the bound's higher digits and have a smaller one here lie below it.
        is_smaller = digit < digits
        smaller = running_sum(torch.where(is_smaller, carried[:, None], 0.0))
        cells = (bound * smaller.shape[-1] + borders).flatten()
        sums += smaller.flatten(1).index_select(1, cells).view_as(sums)
        # The others with its digit go on: behind all smaller digits, in their order.
        same = running_sum(digit == digits).flatten().index_select(0, cells)
        borders = is_smaller.sum(1).index_select(0, bound) + same.view_as(borders)
        order = digit.argsort(stable=True)
        ranks, carried = ranks.index_select(0, order), carried.index_select(1, order)
    return sums
