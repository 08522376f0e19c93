"""Every value of the published evaluator on made-up data, to 2e-6."""

import json
import os
from pathlib import Path

import pytest

from mmdet_rank.evaluation.coco import evaluate_coco
from mmdet_rank.evaluation.lrp import mean_defined
from mmdet_rank.evaluation.panoptic import evaluate_panoptic

DATA = Path(__file__).resolve().parents[1] / "data" / "lrp"
TOLERANCE = 2e-6
FIELDS = {"olrp": "lrp", "olrp_loc": "loc", "olrp_fp": "fp", "olrp_fn": "fn"}
FIELDS["lrp_opt_thr"] = "threshold"
ERRORS = {"lrp": "LRP", "lrp_loc": "LRP_Loc", "lrp_fp": "LRP_FP", "lrp_fn": "LRP_FN"}


def load(folder, name):
    return json.loads((folder / f"{name}.json").read_text())


def close(value):
    return None if value is None else pytest.approx(value, abs=TOLERANCE)


def check_coco(folder, iou_type):
    ground_truth = load(folder, "gt")
    expected = load(folder, "expected")[iou_type]
    evaluation = evaluate_coco(ground_truth, load(folder, "dt"), iou_type)
    report = evaluation.report()
    ap, lrp = (12, 7) if iou_type != "keypoints" else (10, 6)
    stats = expected["stats"]
    assert len(stats) == ap + lrp
    assert [report[key] for key in ("AP", "AP50", "AP75")] == [close(v) for v in stats[:3]]
    assert report["AR"] == close(stats[5 if iou_type == "keypoints" else 8])
    sizes = ["oLRP_s", "oLRP_m", "oLRP_l"][-(lrp - 4) :]
    keys = ["oLRP", "oLRP_Loc", "oLRP_FP", "oLRP_FN", *sizes]
    assert [report[key] for key in keys] == [close(value) for value in stats[ap:]]

    names = {str(c["id"]): c["name"] for c in ground_truth["categories"]}
    assert {names[id_] for id_ in expected["per_class"]} == set(report["per_class"])
    for id_, values in expected["per_class"].items():
        found = report["per_class"][names[id_]]
        assert found["oLRP"] == close(values["olrp"])
        assert found["oLRP_Loc"] == close(values["olrp_loc"])
        assert found["oLRP_FP"] == close(values["olrp_fp"])
        assert found["oLRP_FN"] == close(values["olrp_fn"])
        assert found["last_kept"] == close(values["lrp_opt_thr"])
    for key, field in FIELDS.items():
        for area, value in expected[key].items():
            optimal = evaluation.optimal(area).values()
            assert mean_defined(getattr(o, field) for o in optimal) == close(value)


@pytest.mark.parametrize(
    ("folder", "iou_type"),
    [("synthetic", "bbox"), ("synthetic", "segm"), ("keypoints", "keypoints")],
)
def test_coco(folder, iou_type):
    check_coco(DATA / folder, iou_type)


@pytest.mark.skipif(
    "MMDET_RANK_LVIS_GOLDEN" not in os.environ,
    reason="MMDET_RANK_LVIS_GOLDEN names no folder with gt.json, dt.json and expected.json",
)
@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_real_annotations(iou_type):
    check_coco(Path(os.environ["MMDET_RANK_LVIS_GOLDEN"]), iou_type)


def test_panoptic():
    folder = DATA / "panoptic"
    ground_truth = load(folder, "gt")
    expected = load(folder, "expected")
    report = evaluate_panoptic(ground_truth, load(folder, "dt"), folder / "gt", folder / "dt")
    for group in ("all", "things", "stuff"):
        for key in ("pq", "sq", "rq"):
            assert report[group][key.upper()] == close(expected[group]["pq"][key])
        for key, name in ERRORS.items():
            assert report[group][name] == close(expected[group]["lrp"][key])
    names = {str(c["id"]): c["name"] for c in ground_truth["categories"]}
    assert len(report["per_class"]) == len(expected["per_class"])
    for id_, values in expected["per_class"].items():
        for key, name in ERRORS.items():
            assert report["per_class"][names[id_]][name] == close(values[key])
