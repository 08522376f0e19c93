"""Means of step curves over the score threshold, exact at every score that changes one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["mean_steps"]


def mean_steps(
    scores: Sequence[NDArray[np.float64]], values: Sequence[NDArray[np.float64]], before: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean over curves that each change at scores of their own.

    Args:
        scores: of each curve, descending and distinct.
        values: of each curve, the value from that score down to its next; NaN where undefined.
        before: value of a curve above its highest score; NaN for undefined.

    Returns:
        (S,) all scores, descending, and (S,) the mean over the curves that are defined there; NaN
        where none is.

    >>> mean_steps([np.array([0.9, 0.5]), np.array([0.7])],
    ...            [np.array([0.2, 0.4]), np.array([0.6])], before=1.0)
    (array([0.9, 0.7, 0.5]), array([0.6, 0.4, 0.5]))
    """
    ranked = np.concatenate([*scores, np.zeros(0)])
    # Each curve changes the sums at its own scores alone: from one value to the next, by so much.
    changes = np.zeros((2, ranked.size))
    start = np.zeros(2)
    place = 0
    for own in values:
        steps = np.stack([np.nan_to_num(own), ~np.isnan(own)])
        first = np.array([np.nan_to_num(before), not np.isnan(before)])[:, None]
        stop = place + own.size
        changes[:, place:stop] = np.diff(steps, axis=1, prepend=first)
        start += first[:, 0]
        place = stop
    order = np.argsort(-ranked, kind="stable")
    ranked = ranked[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)) if ranked.size else order
    total, count = (start[:, None] + np.cumsum(changes[:, order], axis=1))[:, last]
    count = np.round(count)
    return ranked[last], np.where(count > 0, total / np.maximum(count, 1), np.nan)
