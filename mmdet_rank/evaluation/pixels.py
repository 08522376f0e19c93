"""Figures of binary segmentation over pixels: IoU, F1, AP, ODS and OIS. NumPy alone.

Scores are counted in bins of equal width on the scale of logits, so that an image is two short
rows of numbers whatever its size, and processes can add theirs up. Bins of 1 / 128
change AP by less than 0.001.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: Logits beyond these count as these: probabilities of 1e-7 and 1 - 1e-7.
LIMIT = 16.0
NUM_BINS = 4096


def count_scores(
    probs: np.ndarray, mask: np.ndarray, valid: np.ndarray | None = None
) -> np.ndarray:
    """Numbers of background and foreground pixels by score.

    Args:
        probs: (H, W) probabilities of the foreground.
        mask: (H, W), above 0 for foreground.
        valid: (H, W), False for pixels that are left out. Default: all count.

    Returns:
        (2, NUM_BINS) int64: background, foreground; bins by ascending score.

    Raises:
        ValueError: If shapes differ, or a probability is NaN.

    Example:
        >>> count_scores(np.array([[0.2, 0.9]]), np.array([[0, 1]])).sum(1)
        array([1, 1])
    """
    if probs.shape != mask.shape:
        raise ValueError(
            f"Expected probabilities of the mask's shape {mask.shape}, but got {probs.shape}."
        )
    probs, mask = probs.ravel().astype(np.float64), mask.ravel() > 0
    if valid is not None:
        probs, mask = probs[valid.ravel()], mask[valid.ravel()]
    if np.isnan(probs).any():
        raise ValueError(
            "Expected probabilities of pixels, but got NaN: the training has diverged; lower the "
            "learning rate, or go on from an earlier checkpoint."
        )
    with np.errstate(divide="ignore"):
        logits = np.log(probs) - np.log1p(-probs)
    bins = np.floor((np.clip(logits, -LIMIT, LIMIT) + LIMIT) * (NUM_BINS / (2 * LIMIT)))
    place = np.minimum(bins.astype(np.int64), NUM_BINS - 1) + NUM_BINS * mask
    return np.bincount(place, minlength=2 * NUM_BINS).reshape(2, NUM_BINS)


def count_hits(pred: np.ndarray, mask: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
    """True positives, false positives and false negatives of one prediction: (3,) int64.

    Example:
        >>> count_hits(np.array([[1, 1, 0]]), np.array([[1, 0, 1]]))
        array([1, 1, 1])
    """
    pred, mask = pred > 0, mask > 0
    if valid is not None:
        pred, mask = pred[valid], mask[valid]
    return np.array([(pred & mask).sum(), (pred & ~mask).sum(), (~pred & mask).sum()])


def hit_figures(hits: np.ndarray) -> dict[str, float]:
    """IoU, F1, precision and recall of (3,) true positives, false positives, false negatives.

    A figure whose denominator is 0 is 0.

    Example:
        >>> hit_figures(np.array([2, 1, 1]))["IoU"]
        0.5
    """
    tp, fp, fn = (float(value) for value in hits)
    return {
        "IoU": _share(tp, tp + fp + fn),
        "F1": _share(2 * tp, 2 * tp + fp + fn),
        "precision": _share(tp, tp + fp),
        "recall": _share(tp, tp + fn),
    }


def score_figures(counts: Sequence[np.ndarray]) -> dict[str, float]:
    """Figures over all thresholds.

    Args:
        counts: `count_scores` of each image.

    Returns:
        In [0, 1]: ``AP`` (average precision over all pixels together); ``ODS``, the best F1 of one
        threshold for all images, with ``ODS_threshold`` and ``ODS_IoU`` there; ``OIS``, the mean
        of the best F1 of each image, over the images with foreground. 0 where there is none.

    Example:
        >>> counts = count_scores(np.array([[0.2, 0.9, 0.6]]), np.array([[0, 1, 0]]))
        >>> score_figures([counts])["AP"]
        1.0
    """
    if not len(counts):
        return {"AP": 0.0, "ODS": 0.0, "ODS_threshold": 0.5, "ODS_IoU": 0.0, "OIS": 0.0}
    tp, fp, positives = _at_thresholds(np.sum(counts, axis=0))
    f1 = _f1(tp, fp, positives)
    best = int(f1.argmax())
    edge = LIMIT - 2 * LIMIT / NUM_BINS * (best + 1)
    each = [_f1(*_at_thresholds(own)).max() for own in counts if own[1].sum()]
    return {
        "AP": average_precision(tp, fp),
        "ODS": float(f1[best]),
        "ODS_threshold": float(1 / (1 + np.exp(-edge))),
        "ODS_IoU": float(f1[best] / (2 - f1[best])),
        "OIS": float(np.mean(each)) if each else 0.0,
    }


def average_precision(tp: np.ndarray, fp: np.ndarray) -> float:
    """Sum of precision times gain of recall, over thresholds from the highest to the lowest.

    Args:
        tp: True positives at each threshold, ascending.
        fp: False positives likewise.
    """
    if not len(tp) or tp[-1] == 0:
        return 0.0
    precision = tp / np.maximum(tp + fp, 1)
    return float((np.diff(tp, prepend=0) * precision).sum() / tp[-1])


def threshold_hits(counts: np.ndarray, threshold: float) -> np.ndarray:
    """True positives, false positives and false negatives at a threshold: (3,) int64.

    Args:
        counts: (2, NUM_BINS) `count_scores`, of one image or a sum.
        threshold: Probability from which a pixel is foreground; rounded to a bin's edge.
    """
    logit = float(np.clip(np.log(threshold) - np.log1p(-threshold), -LIMIT, LIMIT))
    first = round((logit + LIMIT) * NUM_BINS / (2 * LIMIT))
    fp, tp = counts[:, first:].sum(1)
    return np.array([tp, fp, counts[1].sum() - tp])


def _at_thresholds(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """True and false positives at every bin's lower edge, from the highest; and all positives."""
    fp, tp = counts[:, ::-1].cumsum(1)
    return tp, fp, int(tp[-1])


def _f1(tp: np.ndarray, fp: np.ndarray, positives: int) -> np.ndarray:
    return 2 * tp / np.maximum(tp + fp + positives, 1)


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
