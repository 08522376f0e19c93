"""The knots in ascending order, and a table to search among them, in one launch.

Some thousand numbers are sorted fastest by counting, for each, those that are smaller: no program
waits for another. The table is that of ``mmdet_rank.ops.knots.KnotGrid``: equal cells, and how
many knots lie in cells below each.
"""

from __future__ import annotations

import functools

import torch
import triton
import triton.language as tl
from torch import Tensor

# The fastest sizes on an H200: "variants" in benchmarks/results/gpu_h200.json.
ROWS = 16
COLUMNS = 128
CELL_ROWS = 32
CELLS_PER_KNOT = 2
_MAX_CELLS = 1 << 15
_COPIES_PER_PROCESSOR = 2  # of the histogram: few enough for the second-level cache


@triton.jit
def _key(number):
    """An integer that orders float32 numbers; undefined ones come last (or first)."""
    bits = number.to(tl.int32, bitcast=True)
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


@triton.jit
def _number(key):
    """The number of a key."""
    return (key ^ ((key >> 31) & 0x7FFFFFFF)).to(tl.float32, bitcast=True)


@triton.jit
def _knot(scores_ptr, place, mask, num_positives, delta):
    """Knots by place: the lower ends of all steps, then the upper ones."""
    is_upper = place >= num_positives
    score = tl.load(scores_ptr + tl.where(is_upper, place - num_positives, place), mask, other=0.0)
    shift = tl.where(is_upper, delta, -delta)
    return (score.to(tl.float64) + shift).to(tl.float32)


@triton.jit
def cell_of(point, low, scale, num_cells):
    """Cell of each finite point that is at least ``low``; it grows with the point."""
    cell = tl.minimum((point - low) * scale, num_cells - 1.0)
    return tl.where(scale > 0, cell, 0.0).to(tl.int32)


# Numbers of positives and cells change from batch to batch and must not make a kernel each.
@triton.jit(
    do_not_specialize=["num_positives", "num_knots", "num_cells", "num_packed"],
    do_not_specialize_on_alignment=["scores_ptr"],
)
def _sort_knots(
    scores_ptr,
    knots_ptr,
    bounds_ptr,
    cells_ptr,
    packed_ptr,
    num_positives,
    num_knots,
    num_cells,
    num_packed: tl.int64,
    delta: tl.float64,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    CELL_ROWS: tl.constexpr,
):
    program = tl.program_id(0)
    num_ranking = (num_knots + ROWS - 1) // ROWS
    # The histogram that is counted into next has to be empty.
    stride = tl.num_programs(0).to(tl.int64) * 1024
    for first in range(program.to(tl.int64) * 1024, num_packed, stride):
        entry = first + tl.arange(0, 1024)
        tl.store(packed_ptr + entry, tl.zeros([1024], tl.int64), mask=entry < num_packed)
    if program < num_ranking:
        i = program * ROWS + tl.arange(0, ROWS)
        own = i < num_knots
        knot = _knot(scores_ptr, i, own, num_positives, delta)
        key = _key(knot)
        smaller = tl.zeros([ROWS, COLUMNS], tl.int32)
        for begin in range(0, num_knots, COLUMNS):
            j = begin + tl.arange(0, COLUMNS)
            there = j < num_knots
            other = _key(_knot(scores_ptr, j, there, num_positives, delta))[None, :]
            is_before = (other == key[:, None]) & (j[None, :] < i[:, None])
            is_smaller = (other < key[:, None]) | is_before
            smaller += (is_smaller & there[None, :]).to(tl.int32)
        place = tl.sum(smaller, 1)
        tl.store(knots_ptr + place, knot, mask=own)
        tl.store(bounds_ptr + i, place + 1, mask=own)
        # Both ends of a hard step are one knot.
        is_both = own & (num_knots == num_positives)
        tl.store(bounds_ptr + num_positives + i, place + 1, mask=is_both)
    else:
        low = tl.full([COLUMNS], 0x7FFFFFFF, tl.int32)
        high = tl.full([COLUMNS], -0x7FFFFFFF, tl.int32)
        for begin in range(0, num_knots, COLUMNS):
            j = begin + tl.arange(0, COLUMNS)
            there = j < num_knots
            key = _key(_knot(scores_ptr, j, there, num_positives, delta))
            low = tl.minimum(low, tl.where(there, key, 0x7FFFFFFF))
            high = tl.maximum(high, tl.where(there, key, -0x7FFFFFFF))
        lowest = _number(tl.min(low, 0))
        span = _number(tl.max(high, 0)) - lowest
        # Equal or infinite knots share one cell, which costs steps, not correctness.
        usable = (span > 1e-30) & (span < 3e38)
        scale = tl.where(usable, (num_cells - 1.0) / span, 0.0)
        c = (program - num_ranking) * CELL_ROWS + tl.arange(0, CELL_ROWS)
        below = tl.zeros([CELL_ROWS, COLUMNS], tl.int32)
        for begin in range(0, num_knots, COLUMNS):
            j = begin + tl.arange(0, COLUMNS)
            there = j < num_knots
            knot = _knot(scores_ptr, j, there, num_positives, delta)
            cell = cell_of(knot, lowest, scale, num_cells)
            below += ((cell[None, :] < c[:, None]) & there[None, :]).to(tl.int32)
        tl.store(cells_ptr + c, tl.sum(below, 1), mask=c <= num_cells)
        if program == num_ranking:
            tl.store(cells_ptr + num_cells + 1, scale.to(tl.int32, bitcast=True))


class SortedKnots:
    """The knots of P scores for the kernels; what the torch code keeps in a ``KnotTable``.

    Args:
        scores: (P,) floats, P >= 1.
        delta: Half width of the step, at least 0.
        num_logits: Number of examples that will be searched among the knots.

    Attributes:
        knots: (K,) float32, ascending.
        bounds: (2 P,) int32: an example is in the linear part of score i when its interval is at
            least entry i and less than entry P + i.
        cells: (num_cells + 2,) int32: knots in cells below each, and the bits of the float32
            number of cells per unit.
        packed: (copies, K + 1) int64 zeros, to count into.
    """

    def __init__(self, scores: Tensor, delta: float, num_logits: int) -> None:
        self.scores = scores = scores.contiguous()
        self.delta = delta
        device, num_positives = scores.device, scores.numel()
        num_knots = 2 * num_positives if delta > 0 else num_positives
        self.num_cells = min(1 << (CELLS_PER_KNOT * num_knots - 1).bit_length(), _MAX_CELLS)
        # Programs that add to the same numbers wait for each other. So each has a histogram of its
        # own or shares it with few, as long as all of these take less than one byte per logit.
        copies = _COPIES_PER_PROCESSOR * processors(device)
        self.copies = max(1, min(copies, num_logits // (8 * (num_knots + 1))))
        self.knots = torch.empty(num_knots, dtype=torch.float32, device=device)
        self.bounds = torch.empty(2 * num_positives, dtype=torch.int32, device=device)
        self.cells = torch.empty(self.num_cells + 2, dtype=torch.int32, device=device)
        self.packed = torch.empty(self.copies * (num_knots + 1), dtype=torch.int64, device=device)
        programs = divide_up(num_knots, ROWS) + divide_up(self.num_cells + 1, CELL_ROWS)
        with torch.cuda.device_of(scores):
            _sort_knots[(programs,)](
                scores,
                self.knots,
                self.bounds,
                self.cells,
                self.packed,
                num_positives,
                num_knots,
                self.num_cells,
                self.packed.numel(),
                float(delta),
                ROWS=ROWS,
                COLUMNS=COLUMNS,
                CELL_ROWS=CELL_ROWS,
            )

    @property
    def num_intervals(self) -> int:
        """Number of intervals, the two unbounded ones included."""
        return self.knots.numel() + 1


def divide_up(number: int, size: int) -> int:
    """Number of parts of a size that hold a number; triton.cdiv takes a microsecond."""
    return -(-number // size)


@functools.cache
def processors(device: torch.device) -> int:
    """Number of multiprocessors of a GPU; 1 for the interpreter."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).multi_processor_count
    return 1
