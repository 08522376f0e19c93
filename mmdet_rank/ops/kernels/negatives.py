"""The two passes over all logits: count the negatives into intervals, and write the gradient."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..knots import Histogram
from ..roles import Roles
from .knots import SortedKnots, cell_of, divide_up, processors

# The fastest sizes on an H200, for two kinds of logits: "variants" in
# benchmarks/results/gpu_h200.json.
BLOCK = 512
COUNT_WARPS = 4
WRITE_WARPS = 4
PROGRAMS_PER_PROCESSOR = 32
_ROWS, _COLUMNS = 64, 16  # 128 bytes of a histogram at a time: many short programs
_MAX_FRACTION_BITS = 36  # float32 distances have no finer digits worth keeping


@triton.jit
def _interval_of(point, kept, knots_ptr, cells_ptr, low, scale, num_cells):
    """Number of knots that are at most each finite point: the interval it falls into."""
    cell = cell_of(point, low, scale, num_cells)
    count = tl.load(cells_ptr + cell, mask=kept, other=0)
    limit = tl.load(cells_ptr + cell + 1, mask=kept, other=0)
    # What is left are the knots of one's own cell, mostly none or one.
    widest = tl.max(limit - count, 0)
    step = tl.full([], 1, tl.int32)
    while step * 2 <= widest:
        step = step * 2
    while step > 0:
        jump = count + step
        inside = kept & (jump <= limit)
        knot = tl.load(knots_ptr + jump - 1, mask=inside, other=0.0)
        count = tl.where(inside & (knot <= point), jump, count)
        step = step // 2
    return count


@triton.jit
def _entry_of(point, kept, interval, knots_ptr, inverse_width, fraction, shift):
    """Count and offset of each point in one int64."""
    left = tl.load(knots_ptr + interval - 1, mask=kept, other=0.0)
    # Intervals wider than the step's linear part lie in none; what they hold is not read.
    share = tl.minimum((point - left) * inverse_width, 1.0)
    offset = (share * fraction + 0.5).to(tl.int64)
    one = tl.full([1], 1, tl.int64) << shift
    return tl.where(kept, one + offset, 0)


# Whether num_logits is a multiple of 16 decides whether loads of several logits at once are
# possible; all other sizes change from batch to batch and must not make a kernel each.
@triton.jit(
    do_not_specialize=[
        *("num_knots", "num_cells", "num_others", "programs", "copies", "shift"),
    ],
    do_not_specialize_on_alignment=["others_ptr"],
)
def _count_negatives(
    logits_ptr,
    targets_ptr,
    intervals_ptr,
    knots_ptr,
    cells_ptr,
    packed_ptr,
    others_ptr,
    num_logits: tl.int64,
    num_knots,
    num_cells,
    num_others,
    programs,
    copies,
    shift,
    inverse_width,
    fraction,
    DENSE: tl.constexpr,
    KEEP: tl.constexpr,
    BLOCK: tl.constexpr,
):
    program = tl.program_id(0)
    low = tl.load(knots_ptr)
    high = tl.load(knots_ptr + num_knots - 1)
    scale = tl.load(cells_ptr + num_cells + 1).to(tl.float32, bitcast=True)
    if program < programs:
        histogram_ptr = packed_ptr + (program % copies).to(tl.int64) * (num_knots + 1)
        stride = programs.to(tl.int64) * BLOCK
        for begin in range(program.to(tl.int64) * BLOCK, num_logits, stride):
            place = begin + tl.arange(0, BLOCK)
            there = place < num_logits
            point = tl.load(logits_ptr + place, mask=there, other=float("-inf")).to(tl.float32)
            kept = there & (point >= low)
            interval = tl.zeros([BLOCK], tl.int32)
            # Most negatives of a trained model lie below all knots.
            if tl.max(kept.to(tl.int32), 0) > 0:
                if DENSE:
                    kept &= tl.load(targets_ptr + place, mask=kept, other=1) == 0
                # Above all knots the sum is constant, at infinity too.
                point = tl.minimum(point, high)
                interval = _interval_of(point, kept, knots_ptr, cells_ptr, low, scale, num_cells)
                entry = _entry_of(point, kept, interval, knots_ptr, inverse_width, fraction, shift)
                # In the first iterations nearly all logits are one interval's. What falls into
                # that of the block's last negative is added up here, or all would queue for one
                # number. An interval takes 15 bits.
                last = tl.where(kept, (tl.arange(0, BLOCK) << 16) | interval, 0)
                common = tl.max(last, 0) & 0xFFFF
                of_common = tl.sum(tl.where(interval == common, entry, 0), 0)
                tl.atomic_add(histogram_ptr + common, of_common, sem="relaxed")
                tl.atomic_add(
                    histogram_ptr + interval, entry, mask=kept & (interval != common), sem="relaxed"
                )
            if KEEP:
                tl.store(intervals_ptr + place, interval.to(tl.int16), mask=there)
    else:
        # Places that are not negatives are taken back from the very copies that count them.
        first = (program - programs) * BLOCK
        for first_other in range(first, num_others, (tl.num_programs(0) - programs) * BLOCK):
            other = first_other + tl.arange(0, BLOCK)
            there = other < num_others
            place = tl.load(others_ptr + other, mask=there, other=0)
            point = tl.load(logits_ptr + place, mask=there, other=float("-inf")).to(tl.float32)
            kept = there & (point >= low)
            point = tl.minimum(point, high)
            interval = _interval_of(point, kept, knots_ptr, cells_ptr, low, scale, num_cells)
            entry = _entry_of(point, kept, interval, knots_ptr, inverse_width, fraction, shift)
            copy = place // BLOCK % programs % copies
            counted_ptr = packed_ptr + copy * (num_knots + 1) + interval
            tl.atomic_add(counted_ptr, -entry, mask=kept, sem="relaxed")


@triton.jit(do_not_specialize=["num_intervals", "copies", "shift"])
def _add_copies(
    packed_ptr,
    counts_ptr,
    offsets_ptr,
    num_intervals,
    copies,
    shift,
    unit: tl.float64,
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


@triton.jit(
    do_not_specialize=["num_knots", "num_blocks", "num_positives"],
    do_not_specialize_on_alignment=["index_ptr"],
)
def _write_gradient(
    logits_ptr,
    intervals_ptr,
    knots_ptr,
    tables_ptr,
    index_ptr,
    own_ptr,
    gradient_ptr,
    num_logits: tl.int64,
    num_knots,
    num_blocks,
    num_positives,
    BLOCK: tl.constexpr,
):
    program = tl.program_id(0)
    if program < num_blocks:
        place = program.to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
        there = place < num_logits
        # Below 0: a positive, whose gradient other programs write.
        interval = tl.load(intervals_ptr + place, mask=there, other=0).to(tl.int32)
        reached = interval > 0
        point = tl.load(logits_ptr + place, mask=reached, other=0.0).to(tl.float32)
        # Above all knots the sum is constant, at infinity too.
        point = tl.minimum(point, tl.load(knots_ptr + num_knots - 1))
        left = tl.load(knots_ptr + interval - 1, mask=reached, other=0.0)
        value = tl.load(tables_ptr + 2 * interval, mask=reached, other=0.0)
        slope = tl.load(tables_ptr + 2 * interval + 1, mask=reached, other=0.0)
        gradient = tl.where(reached, value + slope * (point - left), 0.0)
        gradient = gradient.to(gradient_ptr.dtype.element_ty)
        tl.store(gradient_ptr + place, gradient, mask=there & (interval >= 0))
    else:
        i = (program - num_blocks) * BLOCK + tl.arange(0, BLOCK)
        there = i < num_positives
        place = tl.load(index_ptr + i, mask=there, other=0)
        own = tl.load(own_ptr + i, mask=there, other=0.0)
        tl.store(gradient_ptr + place, own.to(gradient_ptr.dtype.element_ty), mask=there)


class CountedNegatives:
    """The negatives of a batch; of each logit only its interval is kept, in two bytes.

    Args:
        logits: (N,) float16, bfloat16 or float32.
        roles: Which of them are negatives.
        table: Knots of the positives.
        keep: Whether gradients will be asked for.

    Attributes:
        histogram: Negatives by interval.
        intervals: (N,) int16, 0 for what no positive reaches. Where to mark the positives (by -1)
            and, of sparse roles, the ignored (by 0) is left to whoever works on them next.
    """

    def __init__(self, logits: Tensor, roles: Roles, table: SortedKnots, keep: bool) -> None:
        self._table = table
        self._roles = roles
        num_intervals, num_logits, device = table.num_intervals, logits.numel(), logits.device
        blocks = divide_up(num_logits, BLOCK)
        programs = max(1, min(blocks, PROGRAMS_PER_PROCESSOR * processors(device)))
        copies = min(programs, table.copies)
        # Count and sum of offsets share an int64: one atomic addition, and no order of additions
        # changes a digit. Offsets are fractions of the step's width in fixed point.
        per_copy = divide_up(blocks, programs) * divide_up(programs, copies) * BLOCK
        bits = per_copy.bit_length()
        fraction_bits = min(_MAX_FRACTION_BITS, 62 - 2 * bits)
        shift = fraction_bits + bits
        counts = torch.empty(num_intervals, dtype=torch.int64, device=device)
        offsets = torch.empty(num_intervals, dtype=torch.float64, device=device)
        self.intervals = torch.empty(num_logits if keep else 0, dtype=torch.int16, device=device)
        others = roles.index
        if roles.ignored is not None:
            others = torch.cat([others, roles.ignored])
        num_others = 0 if roles.targets is not None else others.numel()
        inverse_width = 1 / (2 * table.delta) if table.delta > 0 else 0.0
        with torch.cuda.device_of(logits):
            _count_negatives[(programs + divide_up(num_others, BLOCK),)](
                logits.contiguous(),
                logits if roles.targets is None else roles.targets.contiguous(),
                self.intervals,
                table.knots,
                table.cells,
                table.packed,
                others,
                num_logits,
                table.knots.numel(),
                table.num_cells,
                num_others,
                programs,
                copies,
                shift,
                inverse_width,
                float(1 << fraction_bits),
                DENSE=roles.targets is not None,
                KEEP=keep,
                BLOCK=BLOCK,
                num_warps=COUNT_WARPS,
            )
            _add_copies[(divide_up(num_intervals, _COLUMNS),)](
                table.packed,
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

    def write(self, logits: Tensor, tables: Tensor, own: Tensor) -> Tensor:
        """The gradient: ``x -> sum_i w_i H(x - s_i)`` at negatives, at positives their own.

        Args:
            logits: (N,) as they were given before; their dtype is the result's.
            tables: (K + 1, 2) float32, value at the left edge and slope of each interval.
            own: (P_own,) float32, the positives' own.
        """
        gradient = torch.empty_like(logits, memory_format=torch.contiguous_format)
        index = self._roles.index
        blocks = divide_up(logits.numel(), BLOCK)
        with torch.cuda.device_of(logits):
            _write_gradient[(max(1, blocks + divide_up(index.numel(), BLOCK)),)](
                logits.contiguous(),
                self.intervals,
                self._table.knots,
                tables,
                index,
                own,
                gradient,
                logits.numel(),
                self._table.knots.numel(),
                blocks,
                index.numel(),
                BLOCK=BLOCK,
                num_warps=WRITE_WARPS,
            )
        return gradient
