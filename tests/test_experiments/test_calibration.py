"""Thresholds are chosen on one set and judged on the other."""

import json
import shutil

import calibration
import numpy as np
import pytest

from mmdet_rank.evaluation.lrp import MatchedDetections, lrp_curve


def matched(seed=0, number=60):
    rng = np.random.default_rng(seed)
    is_tp = rng.random(number) < 0.5
    scores = np.where(is_tp, rng.normal(0.5, 0.2, number), rng.normal(0.3, 0.2, number))
    quality = np.where(is_tp, rng.uniform(0.5, 1, number), 0)
    return MatchedDetections(scores, is_tp, quality, int(is_tp.sum()) + 7)


def test_chosen_thresholds_are_the_best_of_all():
    found = matched()
    candidates = [calibration.at_threshold(found, t) for t in np.sort(found.scores)]
    best = calibration.at_threshold(found, calibration.choose(found, "LRP-optimal"))
    assert best["LRP"] == pytest.approx(min(c["LRP"] for c in candidates))
    assert best["LRP"] == pytest.approx(lrp_curve(*found).lrp.min())
    best = calibration.at_threshold(found, calibration.choose(found, "F1-optimal"))
    assert best["F1"] == pytest.approx(max(c["F1"] for c in candidates))
    assert calibration.choose(found, "0.5") == 0.5


def test_a_class_without_a_right_detection_keeps_nothing():
    nothing = MatchedDetections(np.array([0.9]), np.array([False]), np.array([0.0]), 3)
    for rule in ("LRP-optimal", "F1-optimal"):
        assert calibration.choose(nothing, rule) == np.inf
    assert calibration.at_threshold(nothing, np.inf)["LRP"] == 1


def test_runs_are_judged_on_the_other_set(tmp_path, capsys):
    """On the validation set 0.6 parts right from wrong, on the test set it loses one object."""
    (tmp_path / "annotations").mkdir()
    boxes = [[10 * i, 0, 8, 8] for i in range(4)]
    truth = {
        "images": [{"id": 1, "width": 100, "height": 20}],
        "categories": [{"id": 1, "name": "a"}],
        "annotations": [
            {"id": i + 1, "image_id": 1, "category_id": 1, "bbox": b, "area": 64, "iscrowd": 0}
            for i, b in enumerate(boxes[:2])
        ],
    }
    scores = {"val": (0.9, 0.8, 0.4, 0.3), "test": (0.9, 0.55, 0.7, 0.3)}
    run = tmp_path / "run"
    run.mkdir()
    (run / "result.json").write_text('{"config": "det", "seed": 0, "iterations": 600}')
    for split, values in scores.items():
        (tmp_path / f"annotations/{split}.json").write_text(json.dumps(truth))
        dets = [
            {"image_id": 1, "category_id": 1, "bbox": b, "score": s}
            for b, s in zip(boxes, values, strict=True)
        ]
        (run / f"{split}.bbox.json").write_text(json.dumps(dets))
    out = tmp_path / "out.json"
    assert calibration.main([str(run), "--data-root", str(tmp_path), "--out", str(out)]) == 0
    (figures,) = json.loads(out.read_text())["det"]
    assert figures["LRP-optimal"] == pytest.approx(
        {"LRP": 2 / 3, "precision": 0.5, "recall": 0.5, "F1": 0.5}
    )
    assert figures["0.5"]["recall"] == 1
    assert figures["0.5"]["precision"] == pytest.approx(2 / 3)
    assert "F1-optimal" in capsys.readouterr().out
    # A seed twice, and another budget.
    again = shutil.copytree(run, tmp_path / "again")
    assert calibration.main([str(run), str(again), "--data-root", str(tmp_path)]) == 1
    assert "Expected each seed of det once, but got [0, 0]" in capsys.readouterr().err
    (again / "result.json").write_text('{"config": "det", "seed": 1, "iterations": 160}')
    assert calibration.main([str(run), str(again), "--data-root", str(tmp_path)]) == 1
    assert "Expected runs of one budget" in capsys.readouterr().err


def test_a_run_that_has_not_ended_is_named(tmp_path, capsys):
    (tmp_path / "atss_seed0").mkdir()
    assert calibration.main([str(tmp_path / "atss_seed0"), "--data-root", str(tmp_path)]) == 1
    message = capsys.readouterr().err
    assert "atss_seed0 has no result.json; run it to its end, or leave it out" in message
