"""LRP Error as functions of arrays: values by hand, bounds, ties, what is undefined."""

import math
import subprocess
import sys

import numpy as np
import pytest

from mmdet_rank.evaluation import (
    giou_quality,
    lrp,
    lrp_at_threshold,
    lrp_curve,
    lrp_error,
    lrp_from_counts,
    mean_defined,
    optimal_lrp,
    panoptic_quality,
)


def draw(rng, size=30, tau=0.5):
    """Detections with many tied scores, and some objects that nothing finds."""
    size = int(rng.integers(0, size))
    scores = rng.integers(0, 8, size) / 8
    is_tp = rng.random(size) < 0.5
    quality = np.where(is_tp, rng.uniform(tau, 1, size), np.nan)
    return scores, is_tp, quality, int(is_tp.sum() + rng.integers(0, 5))


def test_thesis_figure_5_1():
    # Table 5.1: (a) every object found, as many false positives; (b) half of the objects found.
    assert lrp_error([1.0] * 4, num_fp=4, num_fn=0) == (0.5, 0.0, 0.5, 0.0)
    assert lrp_error([1.0] * 4, num_fp=0, num_fn=4) == (0.5, 0.0, 0.0, 0.5)
    assert panoptic_quality(4, 4, 0, 4.0).pq == pytest.approx(2 / 3)
    assert panoptic_quality(4, 0, 4, 4.0).pq == pytest.approx(2 / 3)


def test_thesis_figure_c_1():
    # LRP keeps the triangle inequality where 1 - PQ does not. X and Y do not match (IoU 0.5 is not
    # above 0.5); Z matches either with 0.71.
    apart, by_z = lrp_error([], num_fp=1, num_fn=1), lrp_error([0.71], num_fp=0, num_fn=0)
    assert apart.lrp == 1
    assert by_z.lrp == pytest.approx(0.58)
    assert apart.lrp <= 2 * by_z.lrp
    pq_error = 1 - panoptic_quality(1, 0, 0, 0.71).pq
    assert pq_error == pytest.approx(0.29)
    assert 1 - panoptic_quality(0, 1, 1, 0.0).pq > 2 * pq_error


def test_weighted_form_is_the_same():
    # Eq. 5.3 against Eq. 5.2.
    rng = np.random.default_rng(0)
    for _ in range(100):
        tau = rng.choice([0.0, 0.3, 0.5, 0.75])
        quality = rng.uniform(tau, 1, rng.integers(1, 9))
        num_fp, num_fn = rng.integers(0, 9, 2)
        error = lrp_error(quality, num_fp, num_fn, tau=tau)
        num_tp = quality.size
        weighted = num_tp / (1 - tau) * error.loc + (num_tp + num_fp) * error.fp
        weighted += (num_tp + num_fn) * error.fn
        assert error.lrp == pytest.approx(weighted / (num_tp + num_fp + num_fn), abs=1e-12)


def test_bounds_of_section_5_6():
    rng = np.random.default_rng(1)
    for _ in range(500):
        quality = rng.uniform(0.5, 1, rng.integers(0, 20))
        num_fp, num_fn = (int(n) for n in rng.integers(0, 20, 2))
        if quality.size + num_fp + num_fn == 0:
            continue
        error = lrp_error(quality, num_fp, num_fn)
        quality_error = 1 - panoptic_quality(quality.size, num_fp, num_fn, quality.sum()).pq
        assert 0 <= error.lrp <= 1
        for bound in (error.fp, error.fn, quality_error):
            assert math.isnan(bound) or error.lrp >= bound - 1e-12


def test_pq_error_differs_by_its_normalisation():
    # Eq. 5.8.
    quality, num_fp, num_fn = np.array([0.6, 0.9, 0.75]), 2, 1
    total = ((1 - quality) / 0.5).sum() + num_fp + num_fn
    assert lrp_error(quality, num_fp, num_fn).lrp == pytest.approx(total / 6)
    assert 1 - panoptic_quality(3, num_fp, num_fn, quality.sum()).pq == pytest.approx(total / 9)


@pytest.mark.parametrize("tau", [0.0, 0.5, 0.75])
def test_optimum_is_the_best_of_all_thresholds_and_can_be_applied(tau):
    rng = np.random.default_rng(2)
    for _ in range(300):
        matched = draw(rng, tau=tau)
        best = optimal_lrp(*matched, tau=tau)
        scores, is_tp, quality, num_gt = matched
        if num_gt == 0:
            assert np.isnan(best).all()
            continue
        values = [1.0]
        for threshold in np.unique(scores):
            kept = scores >= threshold
            found = quality[kept & is_tp]
            value = lrp_error(found, int(kept.sum()) - found.size, num_gt - found.size, tau=tau).lrp
            values.append(value)
        assert best.lrp == pytest.approx(min(values), abs=1e-12)
        if not is_tp.any():
            np.testing.assert_array_equal(best, [1.0, np.nan, np.nan, 1.0, np.nan])
            continue
        applied = lrp_at_threshold(*matched, best.threshold, tau=tau)
        assert applied == best[:4]
        kept = scores >= best.threshold
        again = optimal_lrp(scores[kept], is_tp[kept], quality[kept], num_gt, tau=tau)
        assert again == best


def test_order_of_tied_detections_does_not_matter():
    rng = np.random.default_rng(3)
    for _ in range(100):
        scores, is_tp, quality, num_gt = draw(rng)
        order = rng.permutation(scores.size)
        first = optimal_lrp(scores, is_tp, quality, num_gt)
        second = optimal_lrp(scores[order], is_tp[order], quality[order], num_gt)
        np.testing.assert_allclose(first, second, atol=1e-12)


def test_curve_has_one_point_per_distinct_score():
    curve = lrp_curve([0.5, 0.9, 0.5], [True, False, False], [0.75, 0, 0], num_gt=1)
    np.testing.assert_array_equal(curve.thresholds, [0.9, 0.5])
    np.testing.assert_array_equal(curve.lrp, [1.0, 2.5 / 3])
    np.testing.assert_array_equal(curve.loc, [np.nan, 0.25])
    np.testing.assert_array_equal(curve.num_tp, [0, 1])


def test_no_detection_and_no_ground_truth():
    assert lrp_curve([], [], [], num_gt=3).thresholds.size == 0
    np.testing.assert_array_equal(optimal_lrp([], [], [], 3), [1, np.nan, np.nan, 1, np.nan])
    assert np.isnan(optimal_lrp([0.5], [False], [0.0], 0)).all()
    np.testing.assert_array_equal(lrp_error([], 0, 0), [np.nan] * 4)
    np.testing.assert_array_equal(lrp_error([], 2, 0), [1.0, np.nan, 1.0, np.nan])
    np.testing.assert_array_equal(lrp_error([], 0, 2), [1.0, np.nan, np.nan, 1.0])
    assert lrp_at_threshold([0.5], [True], [1.0], 2, math.nan).lrp == 1.0
    assert math.isnan(mean_defined([math.nan]))


def test_match_at_exactly_tau_is_a_match():
    assert optimal_lrp([0.9], [True], [0.5], 1) == (1.0, 0.5, 0.0, 0.0, 0.9)


def test_importance_weights_duplicate_errors():
    # Appendix E: doubling the importance of false negatives counts each of them twice.
    plain = lrp_from_counts(2, 1, 6, 0.5)
    assert lrp_from_counts(2, 1, 3, 0.5, importance=(1, 1, 2)).lrp == plain.lrp
    with pytest.raises(ValueError, match="three positive importance weights"):
        lrp_from_counts(1, 1, 1, 0.0, importance=(1, 0, 1))


def test_giou_as_quality():
    # Section 5.5.4: tau has to be mapped like the quality.
    quality = giou_quality([0.2, 0.8])
    assert lrp_error(quality, 0, 0, tau=float(giou_quality(0.0))).loc == pytest.approx(0.25)
    with pytest.raises(ValueError, match=r"GIoU in \[-1, 1\]"):
        giou_quality([1.5])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.1, 0.2], [True], [0.9], 1), "one length"),
        (([math.nan], [True], [0.9], 1), "finite scores"),
        (([0.5], [True], [0.4], 1), r"true positives in \[0.5, 1\]"),
        (([0.5], [True], [math.nan], 1), r"true positives in \[0.5, 1\]"),
        (([0.5], [True], [1.1], 1), r"true positives in \[0.5, 1\]"),
        (([0.5, 0.6], [True, True], [0.9, 0.9], 1), "as many ground truth objects"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        optimal_lrp(*arguments)


def test_quality_a_hair_below_tau_is_a_rounding_error():
    # Ratios of whole pixels and of floats differ in their last digits; more is a mistake.
    assert lrp_error([0.5 - 1e-12, 1 + 1e-12], 0, 0, tau=0.5).lrp == pytest.approx(0.5)
    for quality in (0.5 - 1e-8, 1 + 1e-8):
        with pytest.raises(ValueError, match="a detection below tau is a false positive"):
            lrp_error([0.75, quality], 0, 0, tau=0.5)
    # A false positive may have any.
    assert optimal_lrp([0.9, 0.8], [True, False], [0.75, 0.1], 1).lrp == pytest.approx(0.5)


@pytest.mark.parametrize("tau", [-0.1, 1.0, math.nan])
def test_refuses_tau(tau):
    with pytest.raises(ValueError, match=r"tau in \[0, 1\)"):
        optimal_lrp([0.5], [True], [0.9], 1, tau=tau)


def test_refuses_negative_counts():
    with pytest.raises(ValueError, match="num_fn >= 0"):
        lrp_from_counts(1, 1, -1, 0.0)


def test_needs_numpy_alone():
    """The file runs on its own, without any package of the stack but NumPy."""
    program = """
import runpy, sys
before = set(sys.modules)
names = runpy.run_path(sys.argv[1])
assert names["optimal_lrp"]([0.9], [True], [1.0], 1).lrp == 0.0
loaded = {name.split(".")[0] for name in set(sys.modules) - before}
assert not loaded - set(sys.stdlib_module_names) - {"numpy"}, loaded
"""
    done = subprocess.run(
        [sys.executable, "-c", program, lrp.__file__], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
