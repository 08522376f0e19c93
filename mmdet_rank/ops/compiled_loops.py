"""The loops of ``loops.py``, which alone imports this module: numba takes a second to load."""

from __future__ import annotations

import numba
import numpy as np

_compile = numba.njit(cache=True, nogil=True, error_model="numpy")


@_compile
def count(points, others, begin, end, knots, left, cells, low, scale, intervals, counts, offsets):
    """Put the points of a piece into intervals, but the others, which get interval 0.

    Args:
        points: (N,) logits.
        others: Ascending places of all that are not negatives.
        begin: First place of the piece.
        end: Behind its last.
        knots: (K,) ascending.
        left: (K + 1,) left edges of the intervals.
        cells: Number of knots in lower cells, by cell, one more than there are.
        low: Lowest knot.
        scale: Cells per unit.
        intervals: (N,) to write into.
        counts: (K + 1,) to add to.
        offsets: (K + 1,) to add to: distances from the left edges.
    """
    last = knots.size
    high = knots[last - 1]
    last_cell = cells.size - 2
    other = np.searchsorted(others, begin)
    while begin < end:
        stop = end
        if other < others.size and others[other] < end:
            stop = others[other]
        for i in range(begin, stop):
            point = points[i]
            if point >= high:
                intervals[i] = last
                counts[last] += 1
            elif point >= low:
                cell = min(np.int64((point - low) * scale), last_cell) if scale > 0 else 0
                b = np.int64(cells[cell])
                limit = np.int64(cells[cell + 1])
                while limit - b > 8:
                    middle = (b + limit) >> 1
                    if knots[middle] <= point:
                        b = middle + 1
                    else:
                        limit = middle
                while b < limit and knots[b] <= point:
                    b += 1
                intervals[i] = b
                counts[b] += 1
                offsets[b] += np.float64(point - left[b])
            else:
                intervals[i] = 0
        if stop < end:
            intervals[stop] = 0
        begin = stop + 1
        other += 1


@_compile
def write(points, intervals, left, values, slopes, gradient, begin, end):
    """The value of a piecewise linear function at the points of a piece, 0 in interval 0."""
    last = left.size - 1
    for i in range(begin, end):
        b = intervals[i]
        if b == 0:
            gradient[i] = 0
        elif b == last:
            gradient[i] = values[last]
        else:
            gradient[i] = values[b] + slopes[b] * (points[i] - left[b])


@_compile
def add_lower(carried, order, group_ends, borders, sums):
    """Sums over places before borders, of those with lower labels, by a Fenwick tree over places.

    Args:
        carried: (P, R) what to sum.
        order: (P,) places by ascending label.
        group_ends: (P,) for each entry of ``order``, where its group of equal labels ends.
        borders: (B, P).
        sums: (B, P, R) zeros, to add to.
    """
    size, rows = carried.shape
    tree = np.zeros((size + 1, rows))
    group = 0
    while group < size:
        end = group_ends[group]
        for entry in range(group, end):
            place = order[entry]
            for b in range(borders.shape[0]):
                node = borders[b, place]
                while node > 0:
                    for r in range(rows):
                        sums[b, place, r] += tree[node, r]
                    node &= node - 1
        for entry in range(group, end):
            place = order[entry]
            node = place + 1
            while node <= size:
                for r in range(rows):
                    tree[node, r] += carried[place, r]
                node += node & -node
        group = end
