"""Sums over positives and intervals, P x P and P x 2P terms each, in registers.

A few thousand numbers on each side are a few million terms: less work than the launches that the
running sums of the torch code take, without a temporary, and without a term that cancels.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

_ROWS = 8
_COLUMNS = 128


@triton.jit
def _step(difference, delta, inverse_width):
    """H(difference) in float64; see ``unit_step``."""
    smooth = tl.minimum(tl.maximum((difference + delta) * inverse_width, 0.0), 1.0)
    hard = (difference >= 0).to(tl.float64)
    return tl.where(delta > 0, smooth, hard)


@triton.jit(do_not_specialize=["num_positives"])
def _sum_over_positives(
    scores_ptr,
    weights_ptr,
    labels_ptr,
    sums_ptr,
    num_positives,
    delta,
    inverse_width,
    HAS_LABELS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    row = tl.program_id(1)
    i = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    own = i < num_positives
    score = tl.load(scores_ptr + i, mask=own, other=0.0)
    if HAS_LABELS:
        label = tl.load(labels_ptr + i, mask=own, other=0.0)
    total = tl.zeros([ROWS, COLUMNS], tl.float64)
    for begin in range(0, num_positives, COLUMNS):
        j = begin + tl.arange(0, COLUMNS)
        there = j < num_positives
        other = tl.load(scores_ptr + j, mask=there, other=0.0)
        weight = tl.load(weights_ptr + row * num_positives + j, mask=there, other=0.0)
        term = weight[None, :] * _step(other[None, :] - score[:, None], delta, inverse_width)
        if HAS_LABELS:
            other_label = tl.load(labels_ptr + j, mask=there, other=0.0)
            term = tl.where(other_label[None, :] < label[:, None], term, 0.0)
        total += term
    tl.store(sums_ptr + row * num_positives + i, tl.sum(total, 1), mask=own)


@triton.jit(do_not_specialize=["num_positives", "num_knots"])
def _count(
    counts_ptr,
    offsets_ptr,
    knots_ptr,
    scores_ptr,
    lower_ptr,
    upper_ptr,
    sums_ptr,
    reached_ptr,
    num_positives,
    num_knots,
    delta,
    inverse_width,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    i = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    own = i < num_positives
    start = tl.load(scores_ptr + i, mask=own, other=0.0) - delta
    lower = tl.load(lower_ptr + i, mask=own, other=0)
    upper = tl.load(upper_ptr + i, mask=own, other=0)
    above = tl.zeros([ROWS, COLUMNS], tl.float64)
    inside = tl.zeros([ROWS, COLUMNS], tl.float64)
    partial = tl.zeros([ROWS, COLUMNS], tl.float64)
    # Interval 0 lies below all knots and counts for nobody.
    for begin in range(1, num_knots + 1, COLUMNS):
        b = begin + tl.arange(0, COLUMNS)
        there = b <= num_knots
        count = tl.load(counts_ptr + b, mask=there, other=0).to(tl.float64)[None, :]
        offset = tl.load(offsets_ptr + b, mask=there, other=0.0)[None, :]
        left = tl.load(knots_ptr + b - 1, mask=there, other=0.0).to(tl.float64)
        is_above = b[None, :] >= upper[:, None]
        is_inside = (b[None, :] >= lower[:, None]) & (b[None, :] < upper[:, None])
        above += tl.where(is_above, count, 0.0)
        inside += tl.where(is_inside, count, 0.0)
        moment = count * (left[None, :] - start[:, None]) + offset
        partial += tl.where(is_inside, moment * inverse_width, 0.0)
    in_linear_part = tl.sum(inside, 1)
    partial_sum = tl.minimum(tl.maximum(tl.sum(partial, 1), 0.0), in_linear_part)
    total = tl.sum(above, 1)
    tl.store(sums_ptr + i, total + partial_sum, mask=own)
    tl.store(reached_ptr + i, total + in_linear_part > 0, mask=own)


@triton.jit(do_not_specialize=["num_positives", "num_knots"])
def _spread(
    knots_ptr,
    scores_ptr,
    lower_ptr,
    upper_ptr,
    weights_ptr,
    values_ptr,
    slopes_ptr,
    num_positives,
    num_knots,
    delta,
    inverse_width,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    b = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    there = b <= num_knots
    left = tl.load(knots_ptr + b - 1, mask=there & (b > 0), other=0.0).to(tl.float64)
    value = tl.zeros([ROWS, COLUMNS], tl.float64)
    slope = tl.zeros([ROWS, COLUMNS], tl.float64)
    for begin in range(0, num_positives, COLUMNS):
        i = begin + tl.arange(0, COLUMNS)
        given = i < num_positives
        start = tl.load(scores_ptr + i, mask=given, other=0.0) - delta
        lower = tl.load(lower_ptr + i, mask=given, other=0)[None, :]
        upper = tl.load(upper_ptr + i, mask=given, other=0)[None, :]
        weight = tl.load(weights_ptr + i, mask=given, other=0.0)[None, :]
        is_inside = (b[:, None] >= lower) & (b[:, None] < upper)
        climbed = tl.maximum((left[:, None] - start[None, :]) * inverse_width, 0.0)
        value += tl.where(is_inside, weight * climbed, 0.0)
        value += tl.where(b[:, None] >= upper, weight, 0.0)
        slope += tl.where(is_inside, weight * inverse_width, 0.0)
    tl.store(values_ptr + b, tl.sum(value, 1).to(tl.float32), mask=there)
    tl.store(slopes_ptr + b, tl.sum(slope, 1).to(tl.float32), mask=there)


def inverse_width(delta: float) -> float:
    """Slope of the step's linear part, 0 for the hard step."""
    return 1 / (2 * delta) if delta > 0 else 0.0


def sums_over_positives(
    scores: Tensor, weights: Tensor, delta: float, labels: Tensor | None = None
) -> Tensor:
    """See ``mmdet_rank.ops.positives.sums_over_positives``."""
    scores, weights = scores.contiguous(), weights.contiguous()
    sums = torch.empty_like(weights)
    grid = (triton.cdiv(scores.numel(), _ROWS), weights.shape[0])
    with torch.cuda.device_of(scores):
        _sum_over_positives[grid](
            scores,
            weights,
            scores if labels is None else labels.contiguous(),
            sums,
            scores.numel(),
            float(delta),
            inverse_width(delta),
            HAS_LABELS=labels is not None,
            ROWS=_ROWS,
            COLUMNS=_COLUMNS,
        )
    return sums


def count(table, histogram) -> tuple[Tensor, Tensor]:
    """See ``mmdet_rank.ops.knots.KnotTable.count``."""
    sums = torch.empty_like(table.scores)
    reached = torch.empty_like(sums, dtype=torch.bool)
    with torch.cuda.device_of(sums):
        _count[(triton.cdiv(sums.numel(), _ROWS),)](
            histogram.counts,
            histogram.offsets,
            table.knots,
            table.scores,
            table.lower,
            table.upper,
            sums,
            reached,
            sums.numel(),
            table.knots.numel(),
            float(table.delta),
            inverse_width(table.delta),
            ROWS=_ROWS,
            COLUMNS=_COLUMNS,
        )
    return sums, reached


def spread(table, weights: Tensor) -> tuple[Tensor, Tensor]:
    """See ``mmdet_rank.ops.knots.KnotTable.spread``; in float32, as the logits are read."""
    values = torch.empty(table.num_intervals, dtype=torch.float32, device=weights.device)
    slopes = torch.empty_like(values)
    with torch.cuda.device_of(values):
        _spread[(triton.cdiv(values.numel(), _ROWS),)](
            table.knots,
            table.scores,
            table.lower,
            table.upper,
            weights.contiguous(),
            values,
            slopes,
            weights.numel(),
            table.knots.numel(),
            float(table.delta),
            inverse_width(table.delta),
            ROWS=_ROWS,
            COLUMNS=_COLUMNS,
        )
    return values, slopes
