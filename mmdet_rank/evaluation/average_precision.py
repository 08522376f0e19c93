"""Average precision of matched detections, with and without interpolation, and what bounds it.

The AP figures of reports are those of the data sets' own evaluations. What stands here is for
questions that these do not answer: how much of AP is interpolation (thesis 5.3.2, Fig. 5.7), and
how much a better correlation of scores and localisation could give (Table 7.4).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .lrp import MatchedDetections, mean_defined

__all__ = [
    "COCO_TAUS",
    "CorrelationBounds",
    "average_precision",
    "correlate",
    "correlation_bounds",
]

#: IoUs that COCO-style AP is a mean over.
COCO_TAUS = tuple(np.linspace(0.5, 0.95, 10).round(2).tolist())


class CorrelationBounds(NamedTuple):
    """AP as it is, and with localisation qualities in the worst and best order.

    Attributes:
        found: mean over the categories of AP at each tau.
        lower: with the highest quality at the lowest score, and so on.
        upper: with the highest quality at the highest score.
        correlation: mean over the categories of the rank correlation of scores and qualities; NaN
            where no category has three true positives of different scores.
    """

    found: dict[float, float]
    lower: dict[float, float]
    upper: dict[float, float]
    correlation: float


def average_precision(
    scores: ArrayLike, is_tp: ArrayLike, num_gt: int, *, interpolated: bool = True
) -> float:
    """Average precision of one category.

    Args:
        scores: (D,) finite scores; detections of equal score keep their order, as in pycocotools.
        is_tp: (D,) bool.
        num_gt: number of ground truth objects.
        interpolated: COCO's mean over 101 recalls of the greatest precision at that recall or a
            higher one; without it the mean over the objects of the precision at which each is
            found, 0 for those that are not: the area under the curve as it is.

    Returns:
        A number in [0, 1]; NaN without ground truth.

    >>> average_precision([0.9, 0.8, 0.7], [True, False, True], num_gt=2, interpolated=False)
    0.8333333333333333
    >>> round(average_precision([0.9, 0.8, 0.7], [True, False, True], num_gt=2), 4)
    0.835
    """
    if num_gt == 0:
        return float("nan")
    order = np.argsort(-np.asarray(scores, dtype=np.float64), kind="mergesort")
    right = np.asarray(is_tp, dtype=bool)[order]
    num_tp = np.cumsum(right)
    precision = num_tp / np.arange(1, right.size + 1)
    if not interpolated:
        return float(precision[right].sum() / num_gt)
    recall = num_tp / num_gt
    greatest = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(recall, np.linspace(0, 1, 101), side="left")
    return float(np.append(greatest, 0.0)[places].mean())


def correlate(matched: MatchedDetections, *, best: bool) -> MatchedDetections:
    """Reassign the qualities of the true positives by their scores (thesis 7.4.2).

    Args:
        matched: detections of a category.
        best: the highest quality to the highest score; else to the lowest.

    >>> found = MatchedDetections(np.array([0.9, 0.8]), np.array([True, True]),
    ...                           np.array([0.6, 0.7]), 2)
    >>> correlate(found, best=True).quality
    array([0.7, 0.6])
    """
    places = np.flatnonzero(matched.is_tp)
    by_score = places[np.argsort(-matched.scores[places], kind="stable")]
    qualities = np.sort(matched.quality[places])
    quality = matched.quality.copy()
    quality[by_score] = qualities[::-1] if best else qualities
    return matched._replace(quality=quality)


def correlation_bounds(
    matches: Mapping[str, MatchedDetections], taus: Sequence[float] = COCO_TAUS
) -> CorrelationBounds:
    """AP between the worst and the best correlation of scores and localisation (Table 7.4).

    A true positive counts at a tau when its quality reaches it, so that AP at the tau of the
    matches stays as it is, and the others move. (An evaluation matches anew at every tau, which may
    give some detections another object; ``found`` does without that too.)

    Args:
        matches: matched detections by category, at the least of the taus or below.
        taus: at which AP is taken; means over them are COCO-style AP.
    """

    def at(best: bool | None) -> dict[float, float]:
        means = {}
        ordered = [
            m if best is None else correlate(m, best=best) for m in matches.values() if m.num_gt
        ]
        for tau in taus:
            means[tau] = mean_defined(
                average_precision(m.scores, m.is_tp & (m.quality >= tau - 1e-9), m.num_gt)
                for m in ordered
            )
        return means

    correlations = [
        _rank_correlation(m.scores[m.is_tp], m.quality[m.is_tp]) for m in matches.values()
    ]
    return CorrelationBounds(at(None), at(False), at(True), mean_defined(correlations))


def _rank_correlation(one: ArrayLike, other: ArrayLike) -> float:
    """Pearson's correlation of ranks, ties sharing their mean; NaN where a side is all alike."""
    if len(np.unique(one)) < 2 or len(np.unique(other)) < 2 or np.size(one) < 3:
        return float("nan")
    return float(np.corrcoef(_ranks(one), _ranks(other))[0, 1])


def _ranks(values: ArrayLike) -> np.ndarray:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[places]
