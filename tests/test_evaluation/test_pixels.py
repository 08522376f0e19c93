"""Figures over pixels against scikit-learn and brute force over thresholds."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from mmdet_rank.evaluation.pixels import (
    count_hits,
    count_scores,
    hit_figures,
    score_figures,
    threshold_hits,
)


def random_images(number=3, seed=0):
    rng = np.random.default_rng(seed)
    for i in range(number):
        mask = rng.random((40, 30 + i)) < 0.1
        logits = rng.normal(-2 + 2.5 * mask, 1.5 + 0.3 * i)
        yield 1 / (1 + np.exp(-logits)), mask


def best_f1(probs, mask):
    scores = []
    for threshold in np.unique(probs):
        pred = probs >= threshold
        scores.append(2 * (pred & mask).sum() / (pred.sum() + mask.sum()))
    return max(scores)


def test_against_definitions():
    images = list(random_images())
    figures = score_figures([count_scores(probs, mask) for probs, mask in images])
    probs, mask = (
        np.concatenate([part.ravel() for part in parts]) for parts in zip(*images, strict=True)
    )
    assert figures["AP"] == pytest.approx(average_precision_score(mask, probs), abs=2e-3)
    assert figures["ODS"] == pytest.approx(best_f1(probs, mask), abs=2e-3)
    at_best = probs >= figures["ODS_threshold"]
    hits = hit_figures(count_hits(at_best, mask))
    assert figures["ODS"] == pytest.approx(hits["F1"], rel=1e-12)
    assert figures["ODS_IoU"] == pytest.approx(hits["IoU"], rel=1e-12)
    each = np.mean([best_f1(*image) for image in images])
    assert figures["OIS"] == pytest.approx(each, abs=3e-3)
    assert figures["OIS"] > figures["ODS"] - 0.1


def test_average_precision_of_many_pixels_is_near_the_exact_one():
    rng = np.random.default_rng(1)
    mask = rng.random((500, 400)) < 0.05
    probs = 1 / (1 + np.exp(-rng.normal(-3 + 3 * mask, 2)))
    figures = score_figures([count_scores(probs, mask)])
    exact = average_precision_score(mask.ravel(), probs.ravel())
    assert figures["AP"] == pytest.approx(exact, abs=1e-3)


def test_hits_by_hand():
    pred = np.array([[1, 1, 1, 0], [0, 0, 0, 0]])
    mask = np.array([[1, 1, 0, 1], [1, 0, 0, 0]])
    hits = count_hits(pred, mask)
    assert hits.tolist() == [2, 1, 2]
    assert hit_figures(hits) == {
        "IoU": 2 / 5,
        "F1": pytest.approx(4 / 7),
        "precision": pytest.approx(2 / 3),
        "recall": 2 / 4,
    }
    valid = np.array([[True] * 4, [False] * 4])
    assert count_hits(pred, mask, valid).tolist() == [2, 1, 1]
    assert count_scores(pred / 2, mask, valid).sum() == 4


def test_threshold_is_an_edge_of_a_bin():
    probs, mask = next(random_images())
    for threshold in (0.5, 0.1, 0.9):
        hits = threshold_hits(count_scores(probs, mask), threshold)
        logits = np.log(probs / (1 - probs))
        edge = round(np.log(threshold / (1 - threshold)) * 128) / 128
        assert hits.tolist() == count_hits(logits >= edge, mask).tolist()


def test_extremes_and_nothing():
    counts = count_scores(np.array([[0.0, 1.0, 1.0, 0.0]]), np.array([[0, 1, 1, 1]]))
    figures = score_figures([counts])
    assert counts.sum() == 4
    assert figures["ODS"] == pytest.approx(0.8571, abs=1e-4)  # 3 of 4, or 2 of 3 without mistake
    empty = count_scores(np.array([[0.2, 0.4]]), np.array([[0, 0]]))
    for nothing in (score_figures([empty]), score_figures([])):
        assert nothing["AP"] == nothing["ODS"] == nothing["OIS"] == 0
    assert hit_figures(np.zeros(3)) == dict(IoU=0, F1=0, precision=0, recall=0)
    # An image without foreground has no part in OIS, and its false positives count elsewhere.
    both = score_figures([counts, empty])
    assert both["OIS"] == figures["OIS"]
    with pytest.raises(ValueError, match="of the mask's shape"):
        count_scores(np.zeros((2, 2)), np.zeros((2, 3)))


def test_a_diverged_model_is_told():
    with pytest.raises(ValueError, match="but got NaN: the training has diverged"):
        count_scores(np.array([[0.5, np.nan]]), np.array([[0, 1]]))
    left_out = np.array([[True, False]])
    assert count_scores(np.array([[0.5, np.nan]]), np.array([[0, 1]]), left_out).sum() == 1
