"""AP by hand and by pycocotools, and its bounds by correlation."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from mmdet_rank.evaluation import MatchedDetections
from mmdet_rank.evaluation.average_precision import (
    average_precision,
    correlate,
    correlation_bounds,
)
from mmdet_rank.evaluation.coco import evaluate_coco
from mmdet_rank.evaluation.giou import pairwise_giou
from mmdet_rank.evaluation.steps import mean_steps

SYNTHETIC = Path(__file__).parents[1] / "data" / "lrp" / "synthetic"


@pytest.fixture(scope="module")
def files():
    return [json.loads((SYNTHETIC / f"{name}.json").read_text()) for name in ("gt", "dt")]


def test_interpolated_is_that_of_pycocotools(files):
    evaluation = evaluate_coco(*files, tau=[0.5, 0.75])
    for tau, key in ((0.5, "AP50"), (0.75, "AP75")):
        values = [
            average_precision(m.scores, m.is_tp, m.num_gt)
            for m in evaluation.matches_at(tau).values()
            if m.num_gt
        ]
        assert np.mean(values) == pytest.approx(evaluation.figures[key], abs=1e-12)


def test_every_category_has_its_own(files):
    truth, detections = files
    # In another order than that of their ids, by which evaluations go.
    truth = {**truth, "categories": truth["categories"][::-1]}
    report = evaluate_coco(truth, detections).report()
    evaluation = evaluate_coco(*files, tau=[0.5, 0.75])
    assert len({values["AP"] for values in report["per_class"].values()}) > 3
    for tau, key in ((0.5, "AP50"), (0.75, "AP75")):
        for name, matched in evaluation.matches_at(tau).items():
            expected = average_precision(matched.scores, matched.is_tp, matched.num_gt)
            assert report["per_class"][name][key] == pytest.approx(expected, abs=1e-12)
    for key in ("AP", "AP50", "AP75"):
        mean = np.mean([values[key] for values in report["per_class"].values()])
        assert mean == pytest.approx(report[key], abs=1e-12)


def test_without_interpolation_it_is_the_area_of_steps():
    rng = np.random.default_rng(0)
    for _ in range(100):
        size = int(rng.integers(1, 30))
        scores, is_tp = rng.permutation(size) / size, rng.random(size) < 0.5
        num_gt = int(is_tp.sum()) + int(rng.integers(0, 3))
        if not num_gt:
            continue
        right = is_tp[np.argsort(-scores)]
        area = 0.0
        for place in np.flatnonzero(right):
            area += right[: place + 1].sum() / (place + 1) / num_gt
        exact = average_precision(scores, is_tp, num_gt, interpolated=False)
        assert exact == pytest.approx(area)
    assert math.isnan(average_precision([0.5], [False], 0))
    assert average_precision([], [], 3) == 0


# Thesis Fig. 7.1: ten anchors, positives at places 1, 3, 6 and 10 of the ranking, five objects. One
# printed figure, 0.08, takes the higher precision that follows at its first object: here 0.073.
@pytest.mark.parametrize(
    ("ious", "printed"),
    [
        ((0.95, 0.80, 0.65, 0.50), (0.51, 0.43, 0.33, 0.20)),
        ((0.80, 0.65, 0.50, 0.95), (0.51, 0.39, 0.24, 0.02)),
        ((0.50, 0.65, 0.80, 0.95), (0.51, 0.19, 0.08, 0.02)),
    ],
)
def test_thesis_figure_7_1(ious, printed):
    positive = np.zeros(10, dtype=bool)
    positive[[0, 2, 5, 9]] = True
    quality = np.zeros(10)
    quality[positive] = ious
    matched = MatchedDetections(np.arange(10, 0, -1) / 10, positive, quality, 5)
    taus = (0.5, 0.65, 0.8, 0.95)
    found = [
        average_precision(matched.scores, quality >= tau, matched.num_gt, interpolated=False)
        for tau in taus
    ]
    assert found == pytest.approx(printed, abs=7e-3)
    bounds = correlation_bounds({"a": matched}, taus)
    # R1 is the upper bound of all three, R3 the lower.
    best, worst = ({"a": correlate(matched, best=how)} for how in (True, False))
    assert correlation_bounds(best).correlation == pytest.approx(1)
    assert correlation_bounds(worst).correlation == pytest.approx(-1)
    best = correlation_bounds(best, taus).found
    assert bounds.upper == best
    assert bounds.lower[0.5] == bounds.upper[0.5] == bounds.found[0.5]
    assert bounds.lower[0.8] <= bounds.found[0.8] <= bounds.upper[0.8]


def test_bounds_of_an_evaluation(files):
    bounds = correlation_bounds(evaluate_coco(*files).matches["all"])
    assert bounds.lower[0.5] == bounds.found[0.5] == bounds.upper[0.5]
    for tau, value in bounds.found.items():
        assert bounds.lower[tau] <= value + 1e-12
        assert value <= bounds.upper[tau] + 1e-12
    assert bounds.upper[0.75] > bounds.lower[0.75]
    assert -1 < bounds.correlation < 1


def test_mean_of_step_curves():
    rng = np.random.default_rng(1)
    for before in (1.0, math.nan):
        scores = [np.unique(rng.integers(0, 12, n))[::-1] / 12 for n in (0, 1, 6, 9)]
        values = [np.where(rng.random(s.size) < 0.2, np.nan, rng.random(s.size)) for s in scores]
        thresholds, mean = mean_steps(scores, values, before)
        assert thresholds.tolist() == np.unique(np.concatenate(scores))[::-1].tolist()
        for threshold, found in zip(thresholds, mean, strict=True):
            own = []
            for score, value in zip(scores, values, strict=True):
                kept = np.flatnonzero(score >= threshold)
                own.append(value[kept[-1]] if kept.size else before)
            expected = np.nanmean(own) if not np.isnan(own).all() else math.nan
            assert found == pytest.approx(expected, nan_ok=True)


def test_giou_of_boxes_without_area():
    point, line, far = [5, 5, 0, 0], [5, 5, 10, 0], [20, 20, 10, 10]
    # Nothing lies between boxes on one point or line; all of the hull between a point and a box
    # but the box itself: of 25 x 25 pixels 525 of 625.
    expected = [[0, 0, -525 / 625], [0, 0, -525 / 625], [-525 / 625, -525 / 625, 1]]
    boxes = [point, line, far]
    np.testing.assert_allclose(pairwise_giou(boxes, boxes), expected, atol=1e-12)
    common = {"image_id": 1, "category_id": 1}
    truth = {
        "images": [{"id": 1, "width": 100, "height": 100}],
        "categories": [{"id": 1, "name": "c"}],
        "annotations": [
            common | {"id": i, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
            for i, box in enumerate((point, far), 1)
        ],
    }
    found = [common | {"bbox": box, "score": 0.9} for box in (point, far)]
    report = evaluate_coco(truth, found, quality="giou", tau=0.75).report()
    # The box is found; the point is missed, and its detection false.
    assert report["oLRP"] == pytest.approx(2 / 3)


def test_giou_as_quality(files):
    rng = np.random.default_rng(2)
    one, other = (np.c_[rng.uniform(0, 30, (n, 2)), rng.uniform(5, 30, (n, 2))] for n in (5, 7))
    import torch
    from torchvision.ops import box_convert, generalized_box_iou

    corners = [box_convert(torch.tensor(boxes), "xywh", "xyxy") for boxes in (one, other)]
    expected = generalized_box_iou(*corners).numpy()
    np.testing.assert_allclose(pairwise_giou(one, other), expected, atol=1e-12)

    by_iou = evaluate_coco(*files)
    by_giou = evaluate_coco(*files, tau=0.75, quality="giou")
    assert by_giou.figures == by_iou.figures
    report = by_giou.report()
    assert report["quality"] == "giou"
    assert "F1" not in report
    # GIoU is at most IoU, so a GIoU of 0.5 is asked for by fewer than an IoU of 0.5.
    for name, matched in by_giou.matches["all"].items():
        assert matched.is_tp.sum() <= by_iou.matches["all"][name].is_tp.sum()
        assert (matched.quality[matched.is_tp] >= 0.75).all()
        assert matched.num_gt == by_iou.matches["all"][name].num_gt
    with pytest.raises(ValueError, match="Expected the quality 'iou', or 'giou' for boxes"):
        evaluate_coco(*files, "segm", quality="giou")
