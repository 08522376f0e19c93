"""Precision, recall and F1 over the confidence, and the confidence of the best mean F1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .lrp import LRPCurve, MatchedDetections, lrp_curve, mean_defined
from .steps import mean_steps
from .thresholds import midway_threshold

__all__ = ["BestF1", "F1Curve", "PrecisionRecallF1", "best_f1", "f1_curves", "mean_f1_curve"]


# Means of F1 that differ by no more are equal.
_ROUNDING = 1e-12
_FIGURES = ("precision", "recall", "f1")


class PrecisionRecallF1(NamedTuple):
    """Precision, recall and their harmonic mean in [0, 1].

    Precision is NaN where nothing is kept; F1 is then 0, for it is 2 TP / (2 TP + FP + FN).
    """

    precision: float
    recall: float
    f1: float


class F1Curve(NamedTuple):
    """Of a category, or means over all, when detections with score >= s are kept.

    Attributes:
        thresholds: (S,) float64, the distinct scores of the category or of all, descending.
        precision: (S,) of means over the categories of which something is kept.
        recall: (S,) of means over all.
        f1: (S,) of means over all.
    """

    thresholds: NDArray[np.float64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]


class BestF1(NamedTuple):
    """Precision, recall and F1 at the confidence of the best mean F1.

    Attributes:
        threshold: one confidence for all categories, midway between the last score kept and the
            next lower one; NaN when there is no detection.
        mean: means over the categories.
        per_class: by name.
    """

    threshold: float
    mean: PrecisionRecallF1
    per_class: dict[str, PrecisionRecallF1]


def f1_curves(matches: Mapping[str, MatchedDetections], *, tau: float = 0.5) -> dict[str, F1Curve]:
    """Precision, recall and F1 of every category at every score that it has.

    Arguments as in :func:`mean_f1_curve`.

    >>> found = MatchedDetections(np.array([0.9, 0.4]), np.array([True, False]), np.ones(2), 2)
    >>> f1_curves({"cat": found})["cat"].f1.round(3)
    array([0.667, 0.5  ])
    """
    return {
        name: F1Curve(curve.thresholds, 1 - curve.fp, 1 - curve.fn, _f1(curve))
        for name, curve in _curves(matches, tau).items()
    }


def mean_f1_curve(matches: Mapping[str, MatchedDetections], *, tau: float = 0.5) -> F1Curve:
    """Precision, recall and F1 at every confidence that changes them, means over the categories.

    Args:
        matches: matched detections at ``tau`` by category; those without ground truth are left out.
        tau: quality from which on a match counted.
    """
    curves = _curves(matches, tau).values()
    scores = [curve.thresholds for curve in curves]
    thresholds, f1 = mean_steps(scores, [_f1(curve) for curve in curves], before=0.0)
    _, recall = mean_steps(scores, [1 - curve.fn for curve in curves], before=0.0)
    _, precision = mean_steps(scores, [1 - curve.fp for curve in curves], before=float("nan"))
    return F1Curve(thresholds, precision, recall, f1)


def best_f1(matches: Mapping[str, MatchedDetections], *, tau: float = 0.5) -> BestF1:
    """Precision, recall and F1 of every category at the confidence of the best mean F1.

    Arguments as in :func:`mean_f1_curve`. Of several best confidences it is the highest one.

    >>> found = MatchedDetections(
    ...     np.array([0.9, 0.8, 0.4]), np.array([True, True, False]), np.array([0.8, 0.6, 0]), 2
    ... )
    >>> best = best_f1({"cat": found})
    >>> best.threshold, best.mean
    (0.6000000000000001, PrecisionRecallF1(precision=1.0, recall=1.0, f1=1.0))
    """
    curve = mean_f1_curve(matches, tau=tau)
    last_kept = float("nan")
    if curve.f1.size:
        # The sums over the confidence leave equal values apart by rounding.
        last_kept = float(curve.thresholds[np.argmax(curve.f1 >= curve.f1.max() - _ROUNDING)])
    per_class = {
        name: _at_threshold(of_class, last_kept) for name, of_class in _curves(matches, tau).items()
    }
    mean = PrecisionRecallF1(
        *(mean_defined(getattr(v, key) for v in per_class.values()) for key in _FIGURES)
    )
    threshold = midway_threshold(curve.thresholds, last_kept) if curve.f1.size else last_kept
    return BestF1(threshold, mean, per_class)


def _curves(matches: Mapping[str, MatchedDetections], tau: float) -> dict[str, LRPCurve]:
    return {
        name: lrp_curve(*matched, tau=tau)
        for name, matched in matches.items()
        if matched.num_gt > 0
    }


def _f1(curve: LRPCurve) -> NDArray[np.float64]:
    precision, recall = 1 - curve.fp, 1 - curve.fn
    return 2 * precision * recall / np.where(curve.num_tp > 0, precision + recall, 1.0)


def _at_threshold(curve: LRPCurve, last_kept: float) -> PrecisionRecallF1:
    kept = np.count_nonzero(curve.thresholds >= last_kept)
    if not kept:
        return PrecisionRecallF1(float("nan"), 0.0, 0.0)
    place = kept - 1
    return PrecisionRecallF1(
        float(1 - curve.fp[place]), float(1 - curve.fn[place]), float(_f1(curve)[place])
    )
