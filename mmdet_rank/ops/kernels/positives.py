"""Everything between the two passes over the logits: P x P and P x 2 P terms, in registers.

A few thousand positives are a few million pairs: less work than the launches that the running sums
of the torch code take, without a temporary, and without a term that cancels. Each loss is two
kernels: what only asks for one's own sums, and what asks for those of others too. The formulas are
those of ``_blame`` in the loss's own file.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..ranking import Blame, Ranking, step_at_zero
from .knots import divide_up

# The fastest sizes on an H200: "variants" in benchmarks/results/gpu_h200.json.
ROWS = 4
COLUMNS = 256
_SPREAD_ROWS, _SPREAD_COLUMNS = 16, 128

_RANK_SORT = tl.constexpr(0)
_AVERAGE_LRP = tl.constexpr(1)
_AVERAGE_PRECISION = tl.constexpr(2)
_INTERPOLATED = tl.constexpr(3)
_WEIGHTS = tl.constexpr(4)

#: Number of each loss in the kernels, and how many values it has.
LOSSES = {
    "rank_sort": (0, 2),
    "average_lrp": (1, 1),
    "average_precision": (2, 1),
    "interpolated_average_precision": (3, 1),
    "weights": (4, 0),
    "hard_weights": (4, 0),
}

# Rows of (P,) float64 that the kernels fill.
_ERROR = tl.constexpr(0)  # of the first loss
_SECOND = tl.constexpr(1)  # error of the second loss, or weights
_SHARE = tl.constexpr(2)
_GIVEN = tl.constexpr(3)  # what one's own sums give to those of others
_OWN = tl.constexpr(4)  # gradient of each positive's logit, by the first loss
_SECOND_OWN = tl.constexpr(5)  # and by the second
_NUM_ROWS = 6


@triton.jit
def _step(difference, delta, inverse_width):
    """H(difference) in float64; see ``unit_step``."""
    smooth = tl.minimum(tl.maximum((difference + delta) * inverse_width, 0.0), 1.0)
    hard = (difference >= 0).to(tl.float64)
    return tl.where(delta > 0, smooth, hard)


@triton.jit
def _mark(intervals_ptr, places_ptr, number, mark):
    """Set the intervals at given places."""
    size: tl.constexpr = mark.shape[0]
    for begin in range(tl.program_id(0) * size, number, tl.num_programs(0) * size):
        k = begin + tl.arange(0, size)
        place = tl.load(places_ptr + k, mask=k < number, other=0)
        tl.store(intervals_ptr + place, mark, mask=k < number)


@triton.jit(
    do_not_specialize=["num_positives", "num_knots", "num_own", "num_ignored"],
    do_not_specialize_on_alignment=["scores_ptr", "features_ptr", "index_ptr", "ignored_ptr"],
)
def _rank(
    counts_ptr,
    offsets_ptr,
    knots_ptr,
    bounds_ptr,
    scores_ptr,
    features_ptr,
    rows_ptr,
    intervals_ptr,
    index_ptr,
    ignored_ptr,
    num_positives,
    num_knots,
    num_own,
    num_ignored,
    delta: tl.float64,
    inverse_width: tl.float64,
    at_zero: tl.float64,
    trace: tl.float64,
    LOSS: tl.constexpr,
    KEEP: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    program = tl.program_id(0)
    i = program * ROWS + tl.arange(0, ROWS)
    own = i < num_positives
    if KEEP:
        # The positives' gradient is none of the sums over intervals; the ignored have none.
        _mark(intervals_ptr, index_ptr, num_own, tl.full([COLUMNS], -1, tl.int16))
        _mark(intervals_ptr, ignored_ptr, num_ignored, tl.zeros([COLUMNS], tl.int16))

    # N_FP(i): intervals above the step count whole, those within by where their examples are.
    score = tl.load(scores_ptr + i, mask=own, other=0.0).to(tl.float64)
    start = score - delta
    lower = tl.load(bounds_ptr + i, mask=own, other=0)
    upper = tl.load(bounds_ptr + num_positives + i, mask=own, other=0)
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
    whole = tl.sum(above, 1)
    fp = whole + tl.minimum(tl.maximum(tl.sum(partial, 1), 0.0), in_linear_part)
    outranked = (whole + in_linear_part > 0) & (fp > trace)

    # Sums over the positives j that outrank i, of 1 and of a weight; of all, and of the missorted.
    feature = tl.load(features_ptr + i, mask=own, other=0.0).to(tl.float64)
    number = tl.zeros([ROWS, COLUMNS], tl.float64)
    weighted = tl.zeros([ROWS, COLUMNS], tl.float64)
    missorted = tl.zeros([ROWS, COLUMNS], tl.float64)
    missorted_loss = tl.zeros([ROWS, COLUMNS], tl.float64)
    for begin in range(0, num_positives, COLUMNS):
        j = begin + tl.arange(0, COLUMNS)
        there = j < num_positives
        other = tl.load(scores_ptr + j, mask=there, other=0.0).to(tl.float64)
        step = _step(other[None, :] - score[:, None], delta, inverse_width)
        step = tl.where(there[None, :], step, 0.0)
        number += step
        if LOSS == _RANK_SORT:
            label = tl.load(features_ptr + j, mask=there, other=0.0).to(tl.float64)
            loss = step * (1.0 - label)[None, :]
            is_lower = label[None, :] < feature[:, None]
            weighted += loss
            missorted += tl.where(is_lower, step, 0.0)
            missorted_loss += tl.where(is_lower, loss, 0.0)
        if LOSS == _AVERAGE_LRP:
            error = tl.load(features_ptr + j, mask=there, other=0.0).to(tl.float64)
            weighted += step * error[None, :]
    positives = tl.sum(number, 1)
    total = tl.sum(weighted, 1)

    out_ptr = rows_ptr + i
    if LOSS == _RANK_SORT:
        rank = positives + fp
        share = tl.where(outranked, 1.0 / rank, 0.0)
        lower_sum = tl.sum(missorted, 1)
        target_loss = total - tl.sum(missorted_loss, 1)
        excess = tl.maximum(total / positives - target_loss / (positives - lower_sum), 0.0)
        blamed = lower_sum > 2.220446049250313e-16 * positives
        excess = tl.where(blamed, excess, 0.0)
        tl.store(out_ptr + _ERROR * num_positives, fp / rank, mask=own)
        tl.store(out_ptr + _SECOND * num_positives, excess, mask=own)
        tl.store(out_ptr + _SHARE * num_positives, share / num_positives, mask=own)
        given = tl.where(blamed, excess / lower_sum, 0.0)
        tl.store(out_ptr + _GIVEN * num_positives, given, mask=own)
        tl.store(out_ptr + _OWN * num_positives, -share * fp / num_positives, mask=own)
    if LOSS == _AVERAGE_LRP:
        rank = 1.0 + positives - at_zero + fp
        excess = tl.where(outranked, (fp + total - at_zero * feature) / rank, 0.0)
        share = tl.where(outranked, excess / fp, 0.0)
        tl.store(out_ptr + _ERROR * num_positives, fp / rank, mask=own)
        tl.store(out_ptr + _SHARE * num_positives, share / num_positives, mask=own)
        tl.store(out_ptr + _GIVEN * num_positives, 1.0 / rank, mask=own)
        tl.store(out_ptr + _OWN * num_positives, -excess / num_positives, mask=own)
    if LOSS == _AVERAGE_PRECISION or LOSS == _INTERPOLATED:  # noqa: SIM109
        rank = 1.0 + positives - at_zero
        precision = rank / (rank + fp)
        if LOSS == _AVERAGE_PRECISION:
            error = tl.where(outranked, 1.0 - precision, 0.0)
            share = tl.where(outranked, error / fp, 0.0)
            tl.store(out_ptr + _ERROR * num_positives, 1.0 - precision, mask=own)
            tl.store(out_ptr + _SHARE * num_positives, share / num_positives, mask=own)
            tl.store(out_ptr + _OWN * num_positives, -error / num_positives, mask=own)
        else:
            tl.store(out_ptr + _GIVEN * num_positives, precision, mask=own)
            # What the interpolated error is put down to; 0 where nobody outranks i.
            tl.store(out_ptr + _SHARE * num_positives, tl.where(outranked, fp, 0.0), mask=own)
    if LOSS == _WEIGHTS:
        tl.store(out_ptr + _GIVEN * num_positives, 1.0 / (positives + fp), mask=own)


@triton.jit(
    do_not_specialize=["num_positives"],
    do_not_specialize_on_alignment=["scores_ptr", "features_ptr"],
)
def _blame(
    scores_ptr,
    features_ptr,
    rows_ptr,
    first_ptr,
    second_ptr,
    num_positives,
    delta: tl.float64,
    inverse_width: tl.float64,
    LOSS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    program = tl.program_id(0)
    if program * ROWS < num_positives:
        i = program * ROWS + tl.arange(0, ROWS)
        own = i < num_positives
        score = tl.load(scores_ptr + i, mask=own, other=0.0).to(tl.float64)
        feature = tl.load(features_ptr + i, mask=own, other=0.0).to(tl.float64)
        sums = tl.zeros([ROWS, COLUMNS], tl.float64)
        for begin in range(0, num_positives, COLUMNS):
            j = begin + tl.arange(0, COLUMNS)
            there = j < num_positives
            other = tl.load(scores_ptr + j, mask=there, other=0.0).to(tl.float64)
            given = tl.load(rows_ptr + _GIVEN * num_positives + j, mask=there, other=0.0)
            if LOSS == _INTERPOLATED:
                is_below = there[None, :] & (other[None, :] <= score[:, None])
                sums = tl.maximum(sums, tl.where(is_below, given[None, :], 0.0))
            else:
                step = _step(score[:, None] - other[None, :], delta, inverse_width)
                if LOSS == _RANK_SORT:
                    label = tl.load(features_ptr + j, mask=there, other=0.0).to(tl.float64)
                    step = tl.where(label[None, :] > feature[:, None], step, 0.0)
                sums += step * given[None, :]
        if LOSS == _INTERPOLATED:
            fp = tl.load(rows_ptr + _SHARE * num_positives + i, mask=own, other=0.0)
            missing = 1.0 - tl.max(sums, 1)
            error = tl.where(fp > 0, missing, 0.0)
            share = tl.where(fp > 0, error / fp, 0.0)
            tl.store(rows_ptr + _ERROR * num_positives + i, missing, mask=own)
            tl.store(rows_ptr + _SHARE * num_positives + i, share / num_positives, mask=own)
            tl.store(rows_ptr + _OWN * num_positives + i, -error / num_positives, mask=own)
        elif LOSS == _RANK_SORT:
            error = tl.load(rows_ptr + _SECOND * num_positives + i, mask=own, other=0.0)
            gradient = (tl.sum(sums, 1) - error) / num_positives
            tl.store(rows_ptr + _SECOND_OWN * num_positives + i, gradient, mask=own)
        else:
            weight = tl.sum(sums, 1) / num_positives
            tl.store(rows_ptr + _SECOND * num_positives + i, weight, mask=own)
    elif LOSS == _RANK_SORT or LOSS == _AVERAGE_LRP:  # noqa: SIM109
        _mean(rows_ptr + _ERROR * num_positives, first_ptr, num_positives, COLUMNS)
        if LOSS == _RANK_SORT:
            _mean(rows_ptr + _SECOND * num_positives, second_ptr, num_positives, COLUMNS)


@triton.jit
def _mean(row_ptr, mean_ptr, number, COLUMNS: tl.constexpr):
    """Mean of a row in an order that is always the same."""
    total = tl.zeros([COLUMNS], tl.float64)
    for begin in range(0, number, COLUMNS):
        j = begin + tl.arange(0, COLUMNS)
        total += tl.load(row_ptr + j, mask=j < number, other=0.0)
    tl.store(mean_ptr, (tl.sum(total, 0) / number).to(tl.float32))


@triton.jit(
    do_not_specialize=[
        *("num_positives", "num_knots", "num_own", "own_begin", "world"),
        *("has_first", "has_second"),
    ],
    do_not_specialize_on_alignment=["scores_ptr", "first_ptr", "second_ptr"],
)
def _spread(
    knots_ptr,
    scores_ptr,
    bounds_ptr,
    shares_ptr,
    positives_ptr,
    first_ptr,
    second_ptr,
    tables_ptr,
    own_ptr,
    num_positives,
    num_knots,
    num_own,
    own_begin,
    world,
    has_first,
    has_second,
    delta: tl.float64,
    inverse_width: tl.float64,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    program = tl.program_id(0)
    num_tables = (num_knots + ROWS) // ROWS
    # Data parallel training averages gradients over the processes; the loss is a mean over all
    # positives already, so that the sum is what is wanted.
    first = tl.where(has_first != 0, tl.load(first_ptr).to(tl.float64), 0.0) * world
    if program < num_tables:
        b = program * ROWS + tl.arange(0, ROWS)
        there = b <= num_knots
        left = tl.load(knots_ptr + b - 1, mask=there & (b > 0), other=0.0).to(tl.float64)
        value = tl.zeros([ROWS, COLUMNS], tl.float64)
        slope = tl.zeros([ROWS, COLUMNS], tl.float64)
        for begin in range(0, num_positives, COLUMNS):
            i = begin + tl.arange(0, COLUMNS)
            given = i < num_positives
            score = tl.load(scores_ptr + i, mask=given, other=0.0).to(tl.float64)
            lower = tl.load(bounds_ptr + i, mask=given, other=0)[None, :]
            upper = tl.load(bounds_ptr + num_positives + i, mask=given, other=0)[None, :]
            share = tl.load(shares_ptr + i, mask=given, other=0.0)[None, :]
            is_inside = (b[:, None] >= lower) & (b[:, None] < upper)
            start = (score - delta)[None, :]
            climbed = tl.maximum((left[:, None] - start) * inverse_width, 0.0)
            value += tl.where(is_inside, share * climbed, 0.0)
            value += tl.where(b[:, None] >= upper, share, 0.0)
            slope += tl.where(is_inside, share * inverse_width, 0.0)
        tl.store(tables_ptr + 2 * b, (first * tl.sum(value, 1)).to(tl.float32), mask=there)
        tl.store(tables_ptr + 2 * b + 1, (first * tl.sum(slope, 1)).to(tl.float32), mask=there)
    else:
        second = tl.where(has_second != 0, tl.load(second_ptr).to(tl.float64), 0.0) * world
        k = (program - num_tables) * COLUMNS + tl.arange(0, COLUMNS)
        is_own = k < num_own
        row_ptr = positives_ptr + own_begin + k
        gradient = first * tl.load(row_ptr, mask=is_own, other=0.0)
        of_second = tl.load(row_ptr + num_positives, mask=is_own & (has_second != 0), other=0.0)
        tl.store(own_ptr + k, (gradient + second * of_second).to(tl.float32), mask=is_own)


def _inverse_width(delta: float) -> float:
    """Slope of the step's linear part, 0 for the hard step."""
    return 1 / (2 * delta) if delta > 0 else 0.0


def blame(ranking: Ranking, loss: str) -> Blame:
    """See ``Ranking.blame``; what it returns are parts of one tensor."""
    kind, num_values = LOSSES[loss]
    table, scores, delta = ranking.table, ranking.table.scores, float(ranking.table.delta)
    num_positives, ignored = scores.numel(), ranking.roles.ignored
    features = ranking.features.contiguous()
    rows = torch.empty(_NUM_ROWS, num_positives, dtype=torch.float64, device=scores.device)
    values = [torch.empty((), dtype=torch.float32, device=scores.device) for _ in range(num_values)]
    first, second = (*values, rows, rows)[:2]
    row_programs = divide_up(num_positives, ROWS)
    # The localisation part of aLRP counts by a hard step (Eq. K.3).
    weights_delta = 0.0 if loss in ("average_lrp", "hard_weights") else delta
    intervals = ranking.negatives.intervals
    with torch.cuda.device_of(scores):
        _rank[(row_programs,)](
            ranking.histogram.counts,
            ranking.histogram.offsets,
            table.knots,
            table.bounds,
            scores,
            features,
            rows,
            intervals,
            ranking.roles.index,
            ranking.roles.index if ignored is None else ignored,
            num_positives,
            table.knots.numel(),
            ranking.roles.index.numel(),
            0 if ignored is None else ignored.numel(),
            delta,
            _inverse_width(delta),
            step_at_zero(delta),
            ranking.trace,
            LOSS=kind,
            KEEP=intervals.numel() > 0,
            ROWS=ROWS,
            COLUMNS=COLUMNS,
        )
        if loss != "average_precision":
            _blame[(row_programs + 1,)](
                scores,
                features,
                rows,
                first,
                second,
                num_positives,
                weights_delta,
                _inverse_width(weights_delta),
                LOSS=kind,
                ROWS=ROWS,
                COLUMNS=COLUMNS,
            )
    if "precision" in loss:
        values = [rows[0].mean()]
    return Blame(tuple(values), rows[4 : 4 + num_values], rows[2], rows[1])


def spread(
    ranking: Ranking, blame: Blame, scales: tuple[Tensor | None, ...]
) -> tuple[Tensor, Tensor]:
    """Tables of the gradients of the negatives, and the positives' own gradients.

    Args:
        ranking: The ranking.
        blame: What ``blame`` said of it.
        scales: What each loss is multiplied by, scalars; None is 0.

    Returns:
        (K + 1, 2) float32 value at the left edge and slope of each interval, and (P_own,) float32.
    """
    table, delta = ranking.table, float(ranking.table.delta)
    num_positives, own = ranking.num_positives, ranking.own
    num_own = own.stop - own.start
    device = table.knots.device
    tables = torch.empty(table.num_intervals, 2, dtype=torch.float32, device=device)
    gradient = torch.empty(num_own, dtype=torch.float32, device=device)
    first, second = (*scales, None)[:2]
    given = first if first is not None else second
    programs = divide_up(table.num_intervals, _SPREAD_ROWS)
    programs += divide_up(num_own, _SPREAD_COLUMNS)
    with torch.cuda.device_of(tables):
        _spread[(programs,)](
            table.knots,
            table.scores,
            table.bounds,
            blame.shares,
            blame.positives,
            given if first is None else first,
            given if second is None else second,
            tables,
            gradient,
            num_positives,
            table.knots.numel(),
            num_own,
            own.start,
            ranking.world,
            int(first is not None),
            int(second is not None),
            delta,
            _inverse_width(delta),
            ROWS=_SPREAD_ROWS,
            COLUMNS=_SPREAD_COLUMNS,
        )
    return tables, gradient
