"""What the pictures show is what was computed."""

import dataclasses

import numpy as np
import pytest

from mmdet_rank.evaluation.lrp import MatchedDetections, lrp_at_threshold, lrp_from_counts
from mmdet_rank.evaluation.report import Evaluation
from mmdet_rank.visualization.lrp_components import class_shares, draw_components, error_shares
from mmdet_rank.visualization.lrp_curves import draw_pr_curves, draw_s_lrp_curves, highlighted
from mmdet_rank.visualization.lrp_detectors import draw_s_lrp_detectors
from mmdet_rank.visualization.lrp_over import draw_f1
from mmdet_rank.visualization.lrp_overview import draw_panoptic_overview
from mmdet_rank.visualization.lrp_plots import save_lrp_plots
from mmdet_rank.visualization.lrp_scatter import draw_fp_fn


def draw_evaluation(categories=5, seed=0):
    rng = np.random.default_rng(seed)
    matches = {}
    for index in range(categories):
        size = int(rng.integers(5, 40))
        is_tp = rng.random(size) < 0.6
        scores = rng.integers(1, 20, size) / 20
        num_gt = int(is_tp.sum()) + 3
        matches[f"class {index}"] = MatchedDetections(
            scores, is_tp, rng.uniform(0.5, 1, size), num_gt
        )
    matches["never right"] = MatchedDetections(np.array([0.5]), np.array([False]), np.zeros(1), 2)
    matches["no truth"] = MatchedDetections(np.array([0.5]), np.array([False]), np.zeros(1), 0)
    return Evaluation(tau=0.5, matches={"all": matches})


@pytest.mark.parametrize(("tau", "importance"), [(0.5, (1, 1, 1)), (0.75, (2, 0.5, 4))])
def test_shares_add_up_to_lrp(tau, importance):
    rng = np.random.default_rng(0)
    for _ in range(200):
        num_tp, num_fp, num_fn = rng.integers(0, 10, 3)
        if num_tp + num_fn == 0:
            continue
        loc_error = rng.uniform(0, (1 - tau) * num_tp) if num_tp else 0.0
        error = lrp_from_counts(num_tp, num_fp, num_fn, loc_error, tau=tau, importance=importance)
        if num_tp == 0:
            continue
        shares = error_shares(error.loc, error.fp, error.fn, tau, importance)
        assert sum(shares) == pytest.approx(error.lrp)
        weighted = np.multiply(importance, (num_tp, num_fp, num_fn))
        assert shares[1:] == pytest.approx(tuple(weighted[1:] / weighted.sum()))
    assert error_shares(None, None, 1.0) == (0.0, 0.0, 1.0)
    assert error_shares(None, 1.0, 1.0) == (0.0, 0.0, 1.0)
    assert error_shares(None, 1.0, None) == (0.0, 1.0, 0.0)


@pytest.mark.parametrize("importance", [(1, 1, 1), (1, 1, 4)])
def test_bars_are_the_report(importance):
    evaluation = dataclasses.replace(draw_evaluation(), importance=importance)
    report = evaluation.report()
    shares = class_shares(report)
    for name, values in report["per_class"].items():
        assert sum(shares[name]) == pytest.approx(values["oLRP"])
    axes = draw_components(report).axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names[0] == "never right"
    assert "no truth" not in names
    ends = [
        max(p.get_x() + p.get_width() for p in axes.patches if round(p.get_y() + 0.4) == row)
        for row in range(len(names))
    ]
    expected = [100 * report["per_class"][name]["oLRP"] for name in names]
    np.testing.assert_allclose(ends, expected)


def test_s_lrp_curve_is_drawn_for_thresholds_between_scores_too():
    evaluation = draw_evaluation()
    figure = draw_s_lrp_curves(evaluation)
    names = highlighted(evaluation)
    axes = figure.axes[3]
    lines = {line.get_label(): line for line in axes.get_lines()}
    optimal = evaluation.optimal()
    for name in names[:-1]:
        line = lines[name]
        x, y = line.get_data()
        assert (np.diff(x) < 0).all()
        assert line.get_drawstyle() == "steps-post"
        # After the score x[i], in descending order, comes the step of y[i] that ends at x[i + 1].
        middle = (x[0] + x[1]) / 2
        matched = evaluation.matches["all"][name]
        assert lrp_at_threshold(*matched, threshold=middle).lrp == pytest.approx(y[0])
        assert y.min() == pytest.approx(optimal[name].lrp)


def test_pr_curve_passes_through_the_optimum():
    evaluation = draw_evaluation()
    axes = draw_pr_curves(evaluation).axes[0]
    crosses = [line.get_xydata()[0] for line in axes.get_lines() if line.get_marker() == "x"]
    points = [
        (1 - v.fn, 1 - v.fp) for v in evaluation.optimal().values() if v.threshold == v.threshold
    ]
    for cross in crosses:
        assert min(np.abs(np.array(points) - cross).sum(axis=1)) < 1e-12
    assert len(crosses) == 5


def test_precision_recall_and_f1_over_the_confidence():
    scores = np.array([0.9, 0.8, 0.6, 0.4])
    matches = {
        "a": MatchedDetections(scores, np.array([1, 0, 1, 1], dtype=bool), np.full(4, 0.7), 4),
        "b": MatchedDetections(scores[1:2], np.array([True]), np.full(1, 0.9), 1),
    }
    evaluation = Evaluation(tau=0.5, matches={"all": matches})
    panels = draw_f1(evaluation, ["a"]).axes
    assert [axes.get_ylabel() for axes in panels] == ["precision", "recall", "F1"]
    # By hand: of a 1/1, 1/2, 2/3, 3/4 are right, and 1, 1, 2, 3 of 4 are found.
    of_a = [[1, 1 / 2, 2 / 3, 3 / 4], [1 / 4, 1 / 4, 1 / 2, 3 / 4], [2 / 5, 1 / 3, 4 / 7, 3 / 4]]
    # Nothing of b is kept at 0.9: its precision is undefined there, and its recall and F1 are 0.
    of_b = [[np.nan, 1, 1, 1], [0, 1, 1, 1], [0, 1, 1, 1]]
    for axes, a, b, defined in zip(panels, of_a, of_b, (np.nanmean, np.mean, np.mean), strict=True):
        lines = {line.get_label(): line for line in axes.get_lines()}
        np.testing.assert_allclose(lines["a"].get_xydata(), np.stack([scores, a], axis=1))
        means = defined(np.array([a, b]), axis=0)
        np.testing.assert_allclose(lines["mean"].get_xydata(), np.stack([scores, means], axis=1))
        assert lines["mean"].get_drawstyle() == "steps-post"
        (grey,) = [line for line in axes.get_lines() if line.get_color() == "0.8"]
        np.testing.assert_allclose(grey.get_xydata(), [[0.8, 1.0]])
        # The best mean F1 is at the last confidence, and its threshold 1 % below it.
        (cross,) = [line for line in axes.get_lines() if line.get_marker() == "x"]
        np.testing.assert_allclose(cross.get_xydata(), [[0.396, means[3]]])
        assert axes.get_title() == f"{means[3]:.3f} at 0.396"


@pytest.mark.parametrize("categories", [0, 1, 100])
def test_any_number_of_categories(categories, tmp_path):
    paths = save_lrp_plots(tmp_path / "plots", draw_evaluation(categories))
    assert [path.name for path in paths] == [
        "overview.png",
        "s_lrp.png",
        "pr.png",
        "components.png",
        "f1.png",
    ]
    assert len(list((tmp_path / "plots").iterdir())) == 5


def test_mean_curves_of_detectors():
    evaluations = {f"detector {i}": draw_evaluation(seed=i) for i in range(3)}
    axes = draw_s_lrp_detectors(evaluations).axes[3]
    lines = {line.get_label(): line for line in axes.get_lines()}
    for name, evaluation in evaluations.items():
        x, y = lines[name].get_data()
        for threshold, value in zip(x[::7], y[::7], strict=True):
            errors = [
                lrp_at_threshold(*matched, threshold=threshold).lrp
                for matched in evaluation.matches["all"].values()
                if matched.num_gt
            ]
            assert value == pytest.approx(np.mean(errors))
    curve = draw_s_lrp_detectors(evaluations, "class 1").axes[3].get_lines()[0]
    expected = evaluations["detector 0"].curve("class 1")
    np.testing.assert_array_equal(curve.get_ydata(), expected.lrp)


def test_misses_against_false_alarms():
    reports = {f"detector {i}": draw_evaluation(seed=i).report() for i in range(2)}
    lines = {line.get_label(): line for line in draw_fp_fn(reports).axes[0].get_lines()}
    for name, report in reports.items():
        expected = [
            (v["oLRP_FN"], v["oLRP_FP"])
            for v in report["per_class"].values()
            if v["oLRP_FP"] is not None
        ]
        assert sorted(map(tuple, lines[name].get_xydata())) == sorted(expected)


def test_things_and_stuff_are_told_apart():
    report = {"tau": 0.5, "is_thing": {"cat": True, "sky": False}}
    values = {"LRP": 0.6, "LRP_Loc": 0.2, "LRP_FP": 0.3, "LRP_FN": 0.4, "PQ": 0.5}
    report["per_class"] = {"cat": values, "sky": values | {"LRP_FN": 0.1}}
    report |= dict.fromkeys(("all", "things", "stuff"), values)
    lines = {line.get_label(): line for line in draw_panoptic_overview(report).axes[1].get_lines()}
    assert lines["things"].get_xydata().tolist() == [[0.4, 0.3]]
    assert lines["stuff"].get_xydata().tolist() == [[0.1, 0.3]]
