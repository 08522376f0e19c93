"""The two passes over all logits: count the negatives into intervals, and write the gradient."""

from __future__ import annotations

import functools

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..histogram import Histogram
from .sums import inverse_width

_BLOCK = 1024
_PROGRAMS_PER_PROCESSOR = 16
_COPIES_PER_PROCESSOR = 2  # of the histogram: few enough for the second-level cache
_ROWS, _COLUMNS = 64, 16  # 128 bytes of a histogram at a time: many short programs
_MAX_FRACTION_BITS = 36  # float32 distances have no finer digits worth keeping


@triton.jit
def _knots_at_most(points, mask, knots_ptr, num_knots, first_step, num_steps):
    """Number of knots that are at most each point: the interval it falls into."""
    count = tl.zeros(points.shape, tl.int32)
    step = first_step
    for _ in range(num_steps):
        jump = count + step
        inside = mask & (jump <= num_knots)
        knot = tl.load(knots_ptr + jump - 1, mask=inside, other=0.0)
        count = tl.where(inside & (knot <= points), jump, count)
        step = step // 2
    return count


# Whether num_logits is a multiple of 16 decides whether loads of several logits at once are
# possible; all other sizes change from batch to batch and must not make a kernel each.
@triton.jit(do_not_specialize=["num_knots", "first_step", "num_steps", "copies", "shift"])
def _count_negatives(
    logits_ptr,
    targets_ptr,
    knots_ptr,
    packed_ptr,
    num_logits,
    num_knots,
    first_step,
    num_steps,
    copies,
    shift,
    inverse_width,
    fraction,
    BLOCK: tl.constexpr,
):
    program = tl.program_id(0).to(tl.int64)
    lowest = tl.load(knots_ptr)
    one = tl.full([BLOCK], 1, tl.int64) << shift
    histogram_ptr = packed_ptr + (program % copies) * (num_knots + 1)
    for begin in range(program * BLOCK, num_logits, tl.num_programs(0).to(tl.int64) * BLOCK):
        place = begin + tl.arange(0, BLOCK)
        there = place < num_logits
        point = tl.load(logits_ptr + place, mask=there, other=float("-inf")).to(tl.float32)
        # Most negatives of a trained model lie below all knots.
        near = there & (point >= lowest)
        if tl.max(near.to(tl.int32), 0) > 0:
            kept = near & (tl.load(targets_ptr + place, mask=there, other=1.0) == 0)
            interval = _knots_at_most(point, kept, knots_ptr, num_knots, first_step, num_steps)
            left = tl.load(knots_ptr + interval - 1, mask=kept, other=0.0)
            # Intervals wider than the step's linear part lie in none; what they hold is not read.
            share = tl.minimum((point - left) * inverse_width, 1.0)
            offset = tl.where(kept, share * fraction + 0.5, 0.0).to(tl.int64)
            entry = tl.where(kept, one + offset, 0)
            # In the first iterations nearly all logits are one interval's. What falls into that of
            # the block's last negative is added up here, or all would queue for one number.
            last = tl.where(kept, tl.arange(0, BLOCK).to(tl.int64) << 32 | interval, 0)
            common = (tl.max(last, 0) & 0xFFFFFFFF).to(tl.int32)
            is_common = interval == common
            tl.atomic_add(
                histogram_ptr + common, tl.sum(tl.where(is_common, entry, 0), 0), sem="relaxed"
            )
            tl.atomic_add(
                histogram_ptr + interval, entry, mask=kept & (interval != common), sem="relaxed"
            )


@triton.jit(do_not_specialize=["num_intervals", "copies", "shift"])
def _add_copies(
    packed_ptr,
    counts_ptr,
    offsets_ptr,
    num_intervals,
    copies,
    shift,
    unit,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    b = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    there = b < num_intervals
    counts = tl.zeros([ROWS, COLUMNS], tl.int64)
    offsets = tl.zeros([ROWS, COLUMNS], tl.int64)
    for begin in range(0, copies, ROWS):
        copy = (begin + tl.arange(0, ROWS)).to(tl.int64)
        packed = tl.load(
            packed_ptr + copy[:, None] * num_intervals + b[None, :],
            mask=(copy < copies)[:, None] & there[None, :],
            other=0,
        )
        count = packed >> shift
        counts += count
        offsets += packed - (count << shift)
    tl.store(counts_ptr + b, tl.sum(counts, 0), mask=there)
    tl.store(offsets_ptr + b, tl.sum(offsets, 0).to(tl.float64) * unit, mask=there)


@triton.jit(do_not_specialize=["num_knots", "first_step", "num_steps"])
def _write_gradient(
    logits_ptr,
    targets_ptr,
    knots_ptr,
    values_ptr,
    slopes_ptr,
    gradient_ptr,
    num_logits,
    num_knots,
    first_step,
    num_steps,
    BLOCK: tl.constexpr,
):
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    there = place < num_logits
    lowest = tl.load(knots_ptr)
    highest = tl.load(knots_ptr + num_knots - 1)
    point = tl.load(logits_ptr + place, mask=there, other=float("-inf")).to(tl.float32)
    near = there & (point >= lowest)
    gradient = tl.zeros([BLOCK], tl.float32)
    if tl.max(near.to(tl.int32), 0) > 0:
        kept = near & (tl.load(targets_ptr + place, mask=there, other=1.0) == 0)
        # Above all knots the sum is constant, at infinity too.
        point = tl.minimum(point, highest)
        interval = _knots_at_most(point, kept, knots_ptr, num_knots, first_step, num_steps)
        left = tl.load(knots_ptr + interval - 1, mask=kept, other=0.0)
        value = tl.load(values_ptr + interval, mask=kept, other=0.0)
        slope = tl.load(slopes_ptr + interval, mask=kept, other=0.0)
        gradient = tl.where(kept, value + slope * (point - left), 0.0)
    tl.store(gradient_ptr + place, gradient.to(gradient_ptr.dtype.element_ty), mask=there)


class CountedNegatives:
    """Like ``LocatedNegatives``, but keeps nothing: intervals are searched again for gradients.

    Args:
        logits: (N,) float16, bfloat16 or float32.
        targets: (N,) as the losses take them.
        table: Knots of the positives, float32.
    """

    def __init__(self, logits: Tensor, targets: Tensor, table) -> None:
        self._knots = table.knots
        num_intervals, num_logits = table.num_intervals, logits.numel()
        blocks = triton.cdiv(num_logits, _BLOCK)
        programs = max(1, min(blocks, _PROGRAMS_PER_PROCESSOR * _processors(logits.device)))
        # Programs that add to the same numbers wait for each other. So each has a histogram of its
        # own or shares it with few, as long as all of these take less than one byte per logit.
        copies = _COPIES_PER_PROCESSOR * _processors(logits.device)
        copies = max(1, min(programs, copies, num_logits // (8 * num_intervals)))
        # Count and sum of offsets share an int64: one atomic addition, and no order of additions
        # changes a digit. Offsets are fractions of the step's width in fixed point.
        per_copy = triton.cdiv(blocks, programs) * triton.cdiv(programs, copies) * _BLOCK
        bits = per_copy.bit_length()
        fraction_bits = min(_MAX_FRACTION_BITS, 62 - 2 * bits)
        shift = fraction_bits + bits
        packed = torch.zeros(copies, num_intervals, dtype=torch.int64, device=logits.device)
        counts = torch.empty(num_intervals, dtype=torch.int64, device=logits.device)
        offsets = torch.empty(num_intervals, dtype=torch.float64, device=logits.device)
        with torch.cuda.device_of(logits):
            _count_negatives[(programs,)](
                logits.contiguous(),
                targets.contiguous(),
                self._knots,
                packed,
                num_logits,
                self._knots.numel(),
                *self._search_steps(),
                copies,
                shift,
                inverse_width(table.delta),
                float(1 << fraction_bits),
                BLOCK=_BLOCK,
            )
            _add_copies[(triton.cdiv(num_intervals, _COLUMNS),)](
                packed,
                counts,
                offsets,
                num_intervals,
                copies,
                shift,
                2 * table.delta / (1 << fraction_bits),
                ROWS=_ROWS,
                COLUMNS=_COLUMNS,
            )
        self.histogram = Histogram(counts, offsets)

    def spread(self, logits: Tensor, targets: Tensor, values: Tensor, slopes: Tensor) -> Tensor:
        """See ``LocatedNegatives.spread``."""
        gradient = torch.empty_like(logits, memory_format=torch.contiguous_format)
        with torch.cuda.device_of(logits):
            _write_gradient[(max(1, triton.cdiv(logits.numel(), _BLOCK)),)](
                logits.contiguous(),
                targets.contiguous(),
                self._knots,
                values,
                slopes,
                gradient,
                logits.numel(),
                self._knots.numel(),
                *self._search_steps(),
                BLOCK=_BLOCK,
            )
        return gradient

    def _search_steps(self) -> tuple[int, int]:
        steps = self._knots.numel().bit_length()
        return 1 << (steps - 1), steps


@functools.cache
def _processors(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).multi_processor_count
    return 1
