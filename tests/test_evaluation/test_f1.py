"""Precision, recall and F1 against counting at every confidence."""

import math
from fractions import Fraction

import numpy as np
import pytest

from mmdet_rank.evaluation import MatchedDetections, lrp_curve, optimal_lrp
from mmdet_rank.evaluation.f1 import best_f1, mean_f1_curve
from mmdet_rank.evaluation.lrp import check_taus


def draw(rng, categories):
    matches = {}
    for index in range(categories):
        size = int(rng.integers(0, 25))
        is_tp = rng.random(size) < 0.5
        scores = rng.integers(1, 16, size) / 16  # many ties, within and between categories
        num_gt = int(is_tp.sum() + rng.integers(0, 4))
        matches[f"c{index}"] = MatchedDetections(scores, is_tp, rng.uniform(0.5, 1, size), num_gt)
    return matches


def counted(matches, threshold):
    """Precision, recall and F1 by name, by counting."""
    found = {}
    for name, (scores, is_tp, _, num_gt) in matches.items():
        if num_gt:
            keep = scores >= threshold
            tp = int((is_tp & keep).sum())
            precision = tp / keep.sum() if keep.any() else math.nan
            found[name] = precision, tp / num_gt, 2 * tp / (keep.sum() + num_gt)
    return found


def test_every_confidence():
    rng = np.random.default_rng(0)
    for _ in range(60):
        matches = draw(rng, int(rng.integers(1, 6)))
        curve = mean_f1_curve(matches)
        scores = [m.scores for m in matches.values() if m.num_gt]
        expected = np.unique(np.concatenate(scores or [np.zeros(0)]))[::-1]
        assert curve.thresholds.tolist() == expected.tolist()
        for place, threshold in enumerate(curve.thresholds):
            values = np.array(list(counted(matches, threshold).values()))
            assert curve.precision[place] == pytest.approx(np.nanmean(values[:, 0]))
            assert curve.recall[place] == pytest.approx(values[:, 1].mean())
            assert curve.f1[place] == pytest.approx(values[:, 2].mean())


def test_of_several_best_confidences_it_is_the_highest():
    """Worked out in fractions, which know no rounding."""
    rng = np.random.default_rng(0)
    cases = [(np.array([1, 0, 0, 0, 0, 0, 1]) > 0, 5)]
    for _ in range(300):
        is_tp = rng.random(rng.integers(2, 15)) < 0.5
        if is_tp.any():
            cases.append((is_tp, int(is_tp.sum() + rng.integers(0, 4))))
    tied = 0
    for is_tp, num_gt in cases:
        scores = np.linspace(0.9, 0.1, len(is_tp))
        found = np.cumsum(is_tp).tolist()
        f1 = [Fraction(2 * tp, kept + num_gt) for kept, tp in enumerate(found, 1)]
        tied += f1.count(max(f1)) > 1
        best = best_f1({"x": MatchedDetections(scores, is_tp, 0.8 * is_tp, num_gt)})
        assert np.count_nonzero(scores >= best.threshold) == f1.index(max(f1)) + 1
    assert tied > 4


def test_the_best_one():
    rng = np.random.default_rng(1)
    for _ in range(60):
        matches = draw(rng, 4)
        curve = mean_f1_curve(matches)
        if not curve.thresholds.size:
            continue
        best = best_f1(matches)
        assert best.mean.f1 == pytest.approx(curve.f1.max())
        # The threshold can be applied: it keeps what the last score kept keeps.
        for name, values in counted(matches, best.threshold).items():
            assert best.per_class[name] == pytest.approx(values, nan_ok=True)
        assert curve.f1[curve.thresholds >= best.threshold][-1] == pytest.approx(best.mean.f1)
        assert (curve.f1[curve.thresholds > best.threshold][:-1] < best.mean.f1 + 1e-12).all()


def test_nothing_found_and_nothing_to_find():
    nothing = MatchedDetections(np.zeros(0), np.zeros(0, dtype=bool), np.zeros(0), 3)
    best = best_f1({"a": nothing})
    assert math.isnan(best.threshold)
    assert math.isnan(best.mean.precision)
    assert (best.mean.recall, best.mean.f1) == (0, 0)
    assert best_f1({"a": nothing._replace(num_gt=0)}).per_class == {}
    assert best_f1({}).per_class == {}


def test_importance_against_duplicated_errors():
    # Thesis Eq. 5.9: a weight of 2 counts each error of a kind twice, above and below the line.
    rng = np.random.default_rng(2)
    for _ in range(100):
        (matched,) = draw(rng, 1).values()
        if not matched.num_gt:
            continue
        curve = lrp_curve(*matched, importance=(1.5, 2.0, 3.0))
        for place, threshold in enumerate(curve.thresholds):
            keep = matched.scores >= threshold
            errors = (1 - matched.quality[keep & matched.is_tp]) / 0.5
            num_fp, num_fn = (~matched.is_tp[keep]).sum(), matched.num_gt - errors.size
            total = 1.5 * errors.sum() + 2 * num_fp + 3 * num_fn
            size = 1.5 * errors.size + 2 * num_fp + 3 * num_fn
            assert curve.lrp[place] == pytest.approx(total / size)
        best = optimal_lrp(*matched, importance=(1.5, 2.0, 3.0))
        assert best.lrp == pytest.approx(curve.lrp.min(initial=1.0))
        same = lrp_curve(*matched)
        assert (curve.fp == same.fp).all()
        assert (curve.fn == same.fn).all()


@pytest.mark.parametrize("taus", [[], [0.5, 1.0], -0.1])
def test_wrong_taus(taus):
    with pytest.raises(ValueError, match=r"tau in \[0, 1\)"):
        check_taus(taus)
