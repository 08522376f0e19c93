"""Localisation Recall Precision (LRP) Error as functions of arrays.

Everything here works on detections that have already been matched with the ground truth of one
class, and needs NumPy alone. The matching itself (COCO, LVIS, panoptic) is done by the neighbouring
modules.

Words used throughout, with the thesis's symbols (chapter 5) beside them:

* ``num_gt`` is the number of ground truth objects, ``|G|``;
* a *true positive* is a detection matched with a ground truth object, ``N_TP`` in number;
* ``quality`` is the localisation quality of a true positive, ``lq`` in ``[0, 1]``: IoU of boxes or
  masks, OKS of keypoints, or GIoU mapped by
  ``quality.giou_quality``;
* ``tau`` is the quality from which on a match counts;
* ``loc``, ``fp`` and ``fn`` are the components ``LRP_Loc``, ``LRP_FP`` (1 - precision) and
  ``LRP_FN`` (1 - recall).

A value that is undefined is NaN, never 0 and never -1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "LRPCurve",
    "LRPError",
    "MatchedDetections",
    "OptimalLRP",
    "lrp_at_threshold",
    "lrp_curve",
    "lrp_error",
    "lrp_from_counts",
    "mean_defined",
    "optimal_lrp",
]

#: Weights of true positives, false positives and false negatives in the metric proper.
EQUAL_IMPORTANCE = (1.0, 1.0, 1.0)

# A match is accepted from `tau` on, in floating point: a quality may lie this much below tau or
# above 1.
_SLACK = 1e-9


class MatchedDetections(NamedTuple):
    """Detections of one class over a whole data set, after matching.

    Detections that the protocol ignores (on crowds, outside of a size range, on classes that are
    not exhaustively annotated) are neither right nor wrong and are not among them.

    Attributes:
        scores: (D,) float64, finite confidence scores in any order.
        is_tp: (D,) bool, whether the detection is a true positive.
        quality: (D,) float64 localisation quality in [tau, 1] of the true positives; not read
            elsewhere.
        num_gt: number of ground truth objects that count.
    """

    scores: NDArray[np.float64]
    is_tp: NDArray[np.bool_]
    quality: NDArray[np.float64]
    num_gt: int


class LRPError(NamedTuple):
    """LRP Error and its components in [0, 1], NaN where undefined (thesis Eq. 5.2, 5.4-5.6)."""

    lrp: NDArray[np.float64] | float
    loc: NDArray[np.float64] | float
    fp: NDArray[np.float64] | float
    fn: NDArray[np.float64] | float


class OptimalLRP(NamedTuple):
    """Optimal LRP (thesis Eq. 5.7), its components and its threshold; NaN where undefined."""

    lrp: float
    loc: float
    fp: float
    fn: float
    threshold: float


class LRPCurve(NamedTuple):
    """The s-LRP curve (thesis Fig. 5.3c): errors when detections with score >= s are kept.

    Attributes:
        thresholds: (S,) float64, the distinct scores in descending order.
        lrp: (S,) float64 LRP Error at each threshold.
        loc: (S,) float64 localisation component, NaN while there is no true positive.
        fp: (S,) float64 false positive component, 1 - precision.
        fn: (S,) float64 false negative component, 1 - recall.
        num_tp: (S,) int64 number of true positives at each threshold.
    """

    thresholds: NDArray[np.float64]
    lrp: NDArray[np.float64]
    loc: NDArray[np.float64]
    fp: NDArray[np.float64]
    fn: NDArray[np.float64]
    num_tp: NDArray[np.int64]


def lrp_from_counts(
    num_tp: ArrayLike,
    num_fp: ArrayLike,
    num_fn: ArrayLike,
    loc_error: ArrayLike,
    *,
    tau: float = 0.5,
    importance: Sequence[float] = EQUAL_IMPORTANCE,
) -> LRPError:
    """LRP Error from counts of right and wrong detections (thesis Eq. 5.2-5.6, E.1).

    ``LRP = (a_TP loc_error / (1 - tau) + a_FP N_FP + a_FN N_FN) / Z`` with
    ``Z = a_TP N_TP + a_FP N_FP + a_FN N_FN``. The importance weights ``a`` of Eq. E.1 (all 1 in the
    metric proper) duplicate one kind of error; the components are those of the unweighted errors.

    Args:
        num_tp: true positives, any shape; all arrays broadcast.
        num_fp: false positives.
        num_fn: false negatives.
        loc_error: sum of ``1 - quality`` over the true positives.
        tau: quality from which on a match counts, in [0, 1).
        importance: positive weights of true positives, false positives and false negatives.

    Returns:
        Floats (or arrays of the broadcast shape) in [0, 1]. LRP is NaN only where there is neither
        ground truth nor detection; ``loc`` is NaN without a true positive, ``fp`` without a
        detection, ``fn`` without ground truth.

    Raises:
        ValueError: for ``tau`` outside of [0, 1), negative counts, or weights that are not
            positive.

    >>> lrp_from_counts(num_tp=1, num_fp=1, num_fn=0, loc_error=0.25)
    LRPError(lrp=0.75, loc=0.25, fp=0.5, fn=0.0)
    """
    check_tau(tau)
    check_importance(importance)
    tp, fp, fn, loc = np.broadcast_arrays(
        *(np.asarray(x, dtype=np.float64) for x in (num_tp, num_fp, num_fn, loc_error))
    )
    for name, values in (("num_tp", tp), ("num_fp", fp), ("num_fn", fn), ("loc_error", loc)):
        if not (values >= 0).all():
            raise ValueError(f"Expected {name} >= 0, but got {values.min()}; check the matching.")
    weight_tp, weight_fp, weight_fn = importance
    total = weight_tp * loc / (1.0 - tau) + weight_fp * fp + weight_fn * fn
    return LRPError(
        lrp=_ratio(total, weight_tp * tp + weight_fp * fp + weight_fn * fn),
        loc=_ratio(loc, tp),
        fp=_ratio(fp, tp + fp),
        fn=_ratio(fn, tp + fn),
    )


def lrp_error(quality: ArrayLike, num_fp: int, num_fn: int, *, tau: float = 0.5) -> LRPError:
    """LRP Error of hard predictions, or of thresholded detections (thesis Eq. 5.2).

    Args:
        quality: (N_TP,) localisation quality of each true positive, in [tau, 1].
        num_fp: number of false positives.
        num_fn: number of false negatives.
        tau: quality from which on a match counts, in [0, 1).

    Raises:
        ValueError: for a quality outside of [tau, 1] or ``tau`` outside of [0, 1).

    >>> lrp_error([1.0, 0.75], num_fp=0, num_fn=0)
    LRPError(lrp=0.25, loc=0.125, fp=0.0, fn=0.0)
    """
    check_tau(tau)
    quality = np.asarray(quality, dtype=np.float64).reshape(-1)
    _check_quality(quality, tau)
    return lrp_from_counts(quality.size, num_fp, num_fn, _loc_errors(quality).sum(), tau=tau)


def lrp_curve(
    scores: ArrayLike,
    is_tp: ArrayLike,
    quality: ArrayLike,
    num_gt: int,
    *,
    tau: float = 0.5,
    importance: Sequence[float] = EQUAL_IMPORTANCE,
) -> LRPCurve:
    """The s-LRP curve: LRP Error and components at every distinct score (thesis Fig. 5.3c).

    Detections of equal score enter together, so the curve does not depend on their order and every
    point of it is reached by a threshold that can be applied.

    Args:
        scores: (D,) finite scores, any order.
        is_tp: (D,) bool.
        quality: (D,) localisation quality; read where ``is_tp``, there in [tau, 1].
        num_gt: number of ground truth objects, at least the number of true positives.
        tau: quality from which on a match counts, in [0, 1).
        importance: as in :func:`lrp_from_counts` (thesis Eq. 5.9); it changes ``lrp`` alone.

    Raises:
        ValueError: when lengths differ, a score is not finite, a quality is outside of [tau, 1], or
            there are more true positives than ground truth objects.

    >>> lrp_curve([0.9, 0.8, 0.8], [True, False, True], [0.75, 0.0, 1.0], num_gt=2).lrp
    array([0.75, 0.5 ])
    """
    matched = _checked(scores, is_tp, quality, num_gt, tau)
    order = np.argsort(-matched.scores, kind="stable")
    ranked = matched.scores[order]
    last_of_score = (
        np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)) if ranked.size else order
    )
    is_tp = matched.is_tp[order]
    loc_errors = np.where(is_tp, _loc_errors(matched.quality[order]), 0.0)
    num_tp = np.cumsum(is_tp)[last_of_score]
    error = lrp_from_counts(
        num_tp,
        last_of_score + 1 - num_tp,
        matched.num_gt - num_tp,
        np.cumsum(loc_errors)[last_of_score],
        tau=tau,
        importance=importance,
    )
    lrp, loc, fp, fn = map(np.atleast_1d, error)
    return LRPCurve(ranked[last_of_score], lrp, loc, fp, fn, num_tp.astype(np.int64, copy=False))


def lrp_at_threshold(
    scores: ArrayLike,
    is_tp: ArrayLike,
    quality: ArrayLike,
    num_gt: int,
    threshold: float,
    *,
    tau: float = 0.5,
    importance: Sequence[float] = EQUAL_IMPORTANCE,
) -> LRPError:
    """LRP Error when only detections with ``score >= threshold`` are kept.

    Other arguments as in :func:`lrp_curve`. A NaN threshold keeps nothing: the optimum of a class
    of which no detection is right.

    >>> lrp_at_threshold([0.9, 0.8], [True, False], [0.75, 0.0], num_gt=2, threshold=0.85).lrp
    0.75
    """
    matched = _checked(scores, is_tp, quality, num_gt, tau)
    keep = matched.scores >= threshold
    curve = lrp_curve(
        matched.scores[keep],
        matched.is_tp[keep],
        matched.quality[keep],
        matched.num_gt,
        tau=tau,
        importance=importance,
    )
    if not curve.thresholds.size:
        return lrp_from_counts(0, 0, matched.num_gt, 0.0, tau=tau, importance=importance)
    return LRPError(*(float(x[-1]) for x in (curve.lrp, curve.loc, curve.fp, curve.fn)))


def optimal_lrp(
    scores: ArrayLike,
    is_tp: ArrayLike,
    quality: ArrayLike,
    num_gt: int,
    *,
    tau: float = 0.5,
    importance: Sequence[float] = EQUAL_IMPORTANCE,
) -> OptimalLRP:
    """Optimal LRP: the least LRP Error over all thresholds (thesis Eq. 5.7).

    Arguments as in :func:`lrp_curve`. Keeping the detections with ``score >= threshold`` reproduces
    the value, also when scores are tied. Of several best thresholds it is the highest one.

    Returns:
        All NaN without ground truth: such a class is left out of any mean. With ground truth of
        which nothing is found: ``lrp`` and ``fn`` are 1, and ``loc``, ``fp`` and ``threshold`` are
        NaN, because the best that can be done is to keep no detection at all.

    >>> optimal_lrp([0.9, 0.8, 0.7], [True, True, False], [0.75, 1.0, 0.0], num_gt=2)
    OptimalLRP(lrp=0.25, loc=0.125, fp=0.0, fn=0.0, threshold=0.8)
    >>> optimal_lrp([0.9], [False], [0.0], num_gt=3)
    OptimalLRP(lrp=1.0, loc=nan, fp=nan, fn=1.0, threshold=nan)
    """
    curve = lrp_curve(scores, is_tp, quality, num_gt, tau=tau, importance=importance)
    if num_gt == 0:
        return OptimalLRP(*[float("nan")] * 5)
    # Without a true positive LRP is 1, so leaving these thresholds out never raises the minimum.
    candidates = np.flatnonzero(curve.num_tp > 0)
    if not candidates.size:
        return OptimalLRP(1.0, float("nan"), float("nan"), 1.0, float("nan"))
    best = candidates[np.argmin(curve.lrp[candidates])]
    return OptimalLRP(
        *(float(x[best]) for x in (curve.lrp, curve.loc, curve.fp, curve.fn, curve.thresholds))
    )


def mean_defined(values: Iterable[float]) -> float:
    """Mean over the defined values, those that are not NaN (thesis 5.5.2); NaN if none is.

    >>> mean_defined([0.5, float("nan"), 1.0])
    0.75
    """
    numbers = np.asarray(list(values), dtype=np.float64)
    defined = numbers[~np.isnan(numbers)]
    return float(defined.mean()) if defined.size else float("nan")


def _loc_errors(quality: NDArray[np.float64]) -> NDArray[np.float64]:
    """``1 - quality``, not below 0 when a quality exceeds 1 by a rounding error."""
    return np.maximum(1.0 - quality, 0.0)


def _ratio(
    numerator: NDArray[np.float64], denominator: NDArray[np.float64]
) -> NDArray[np.float64] | float:
    """numerator / denominator, NaN where the denominator is 0, and a float for 0-d input."""
    with np.errstate(invalid="ignore"):
        # A numerator that is not 0 over a denominator of 0 cannot occur for counts, so this is 0 /
        # 0 or defined.
        result = np.divide(
            numerator, denominator, out=np.full_like(denominator, np.nan), where=denominator > 0
        )
    return float(result) if result.ndim == 0 else result


def _checked(
    scores: ArrayLike, is_tp: ArrayLike, quality: ArrayLike, num_gt: int, tau: float
) -> MatchedDetections:
    check_tau(tau)
    scores = np.asarray(scores, dtype=np.float64)
    is_tp = np.asarray(is_tp, dtype=bool)
    quality = np.asarray(quality, dtype=np.float64)
    if not (scores.ndim == 1 and scores.shape == is_tp.shape == quality.shape):
        raise ValueError(
            f"Expected 1-D scores, is_tp and quality of one length, but got shapes {scores.shape}, "
            f"{is_tp.shape} and {quality.shape}; pass one value per detection."
        )
    if not np.isfinite(scores).all():
        raise ValueError(
            "Expected finite scores, but got NaN or infinity; remove such detections or mend the "
            "model."
        )
    _check_quality(quality[is_tp], tau)
    if num_gt < is_tp.sum():
        raise ValueError(
            f"Expected at least as many ground truth objects as true positives, but got "
            f"num_gt={num_gt} and {is_tp.sum()} true positives; match each object with one "
            "detection at most."
        )
    return MatchedDetections(scores, is_tp, quality, int(num_gt))


def check_importance(importance: Sequence[float]) -> None:
    """Raise ValueError unless there are three positive weights."""
    if len(importance) != 3 or not all(np.isfinite(a) and a > 0 for a in importance):
        raise ValueError(
            "Expected three positive importance weights (true positives, false positives, false "
            f"negatives), but got {tuple(importance)}; use (1, 1, 1) for the unweighted LRP Error."
        )


def check_taus(tau: float | Sequence[float]) -> tuple[float, ...]:
    """One tau or several as a tuple, without doubles.

    Raises:
        ValueError: for none at all, or one outside of [0, 1).

    >>> check_taus(0.5), check_taus([0.5, 0.75, 0.5])
    ((0.5,), (0.5, 0.75))
    """
    taus = tuple(dict.fromkeys(np.atleast_1d(np.asarray(tau, dtype=np.float64)).tolist()))
    if not taus:
        raise ValueError("Expected at least one tau in [0, 1), but got none; the usual one is 0.5.")
    for value in taus:
        check_tau(value)
    return taus


def check_tau(tau: float) -> None:
    """Raise ValueError unless LRP Error is defined with this tau, evaluated or trained."""
    if not 0 <= tau < 1:
        raise ValueError(
            f"Expected tau in [0, 1), but got {tau}; use 0.5, or what your priors are assigned by."
        )


def _check_quality(quality: NDArray[np.float64], tau: float) -> None:
    if quality.size and not (quality.min() >= tau - _SLACK and quality.max() <= 1 + _SLACK):
        raise ValueError(
            f"Expected the quality of true positives in [{tau}, 1], but got values from "
            f"{quality.min()} to {quality.max()}; a detection below tau is a false positive."
        )
