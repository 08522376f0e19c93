"""PanopticLRPMetric: PQ and LRP of the reference data, taus, weights, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest
from panoptic_reference import check_panoptic, panoptic_metric, panoptic_samples
from PIL import Image

from mmdet_rank.evaluation.metrics import PanopticLRPMetric
from mmdet_rank.evaluation.panoptic import evaluate_panoptic, panoptic_report, read_panoptic_png

DATA = Path(__file__).resolve().parents[1] / "data" / "lrp"


def test_panoptic_metric(tmp_path):
    samples, meta, _ = panoptic_samples()
    prefix = str(tmp_path / "run")
    metric = panoptic_metric(classwise=True, report_prefix=prefix)
    metric.dataset_meta = meta
    metric.process({}, samples)
    check_panoptic(metric.evaluate(size=len(samples)))
    assert len(json.loads(Path(f"{prefix}.panoptic.lrp.json").read_text())["per_class"]) == 8


def test_panoptic_metric_with_ground_truth_from_samples():
    samples, meta, ground_truth = panoptic_samples()
    ids = [category["id"] for category in ground_truth["categories"]]
    for sample, annotation in zip(samples, ground_truth["annotations"], strict=True):
        sample["seg_map_path"] = str(DATA / "panoptic" / "gt" / annotation["file_name"])
        sample["segments_info"] = [
            {
                "id": segment["id"],
                "category": ids.index(segment["category_id"]),
                # As MMDetection's data set has it: a crowd is not a thing.
                "is_thing": ground_truth["categories"][ids.index(segment["category_id"])]["isthing"]
                and not segment["iscrowd"],
            }
            for segment in annotation["segments_info"]
        ]
    metric = PanopticLRPMetric()
    metric.dataset_meta = meta
    metric.process({}, samples)
    check_panoptic(metric.evaluate(size=len(samples)))


def test_panoptic_tau():
    samples, meta, _ = panoptic_samples()
    metric = panoptic_metric(tau=0.75)
    metric.dataset_meta = meta
    metric.process({}, samples)
    found = metric.evaluate(size=len(samples))
    expected = json.loads((DATA / "panoptic" / "expected.json").read_text())
    assert found["coco_panoptic/PQ"] == pytest.approx(expected["all"]["pq"]["pq"], abs=2e-6)
    assert found["coco_panoptic/LRP"] > expected["all"]["lrp"]["lrp"]
    assert found["coco_panoptic/LRP_Loc"] < 0.25
    with pytest.raises(ValueError, match=r"tau in \[0.5, 1\)"):
        panoptic_metric(tau=0.4)


def test_panoptic_importance(tmp_path):
    # Of 4 true positives of mean IoU 0.8, 2 false positives and 3 misses; and of a miss alone.
    counts = np.array([[4, 2, 3, 3.2], [0, 0, 1, 0]])
    categories = [{"name": "car", "isthing": 1}, {"name": "sky", "isthing": 0}]
    report = panoptic_report(counts, counts, categories, importance=(2, 1, 5))
    plain = panoptic_report(counts, counts, categories)
    errors = 2 * (4 - 3.2) / 0.5 + 1 * 2 + 5 * 3
    car, sky = report["per_class"]["car"], report["per_class"]["sky"]
    assert car["LRP"] == pytest.approx(errors / (2 * 4 + 1 * 2 + 5 * 3))
    assert sky["LRP"] == 1
    assert report["all"]["LRP"] == pytest.approx((car["LRP"] + 1) / 2)
    assert report["importance"] == [2, 1, 5]
    assert "importance" not in plain
    # All but LRP itself is what it was.
    assert car | {"LRP": 0} == plain["per_class"]["car"] | {"LRP": 0}
    samples, meta, _ = panoptic_samples()
    metric = panoptic_metric(importance=(1, 1, 4), report_prefix=str(tmp_path / "run"))
    metric.dataset_meta = meta
    metric.process({}, samples)
    found = metric.evaluate(size=len(samples))
    folder = DATA / "panoptic"
    truth, results = (json.loads((folder / f"{name}.json").read_text()) for name in ("gt", "dt"))
    whole = evaluate_panoptic(truth, results, folder / "gt", folder / "dt", importance=(1, 1, 4))
    assert whole["all"]["LRP"] == pytest.approx(found["coco_panoptic/LRP"])
    assert json.loads((tmp_path / "run.panoptic.lrp.json").read_text())["importance"] == [1, 1, 4]
    with pytest.raises(ValueError, match="three positive importance weights"):
        panoptic_metric(importance=(1, 1, 0))


def test_panoptic_refuses_gray_png(tmp_path):
    Image.new("L", (4, 4)).save(tmp_path / "gray.png")
    with pytest.raises(ValueError, match="red, green and blue"):
        read_panoptic_png(tmp_path / "gray.png")
