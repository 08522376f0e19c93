"""The reference data of panoptic segmentation, as a metric meets it."""

import json
from pathlib import Path

import mmdet_rank.register  # noqa: F401

import numpy as np
import pytest
import torch

from mmdet_rank.evaluation.metrics import PanopticLRPMetric
from mmdet_rank.evaluation.panoptic import read_panoptic_png

DATA = Path(__file__).resolve().parents[1] / "data" / "lrp"


def panoptic_samples():
    """Outputs of a panoptic detector as a metric gets them, from the reference data."""
    folder = DATA / "panoptic"
    ground_truth = json.loads((folder / "gt.json").read_text())
    results = json.loads((folder / "dt.json").read_text())
    ids = [category["id"] for category in ground_truth["categories"]]
    samples = []
    for annotation in results["annotations"]:
        pixels = read_panoptic_png(folder / "dt" / annotation["file_name"])
        labels = np.full(pixels.shape, len(ids))
        for number, segment in enumerate(annotation["segments_info"], start=1):
            labels[pixels == segment["id"]] = ids.index(segment["category_id"]) + 1000 * number
        samples.append(
            {
                "img_id": annotation["image_id"],
                "img_path": annotation["file_name"].replace(".png", ".jpg"),
                "pred_panoptic_seg": {"sem_seg": torch.tensor(labels)[None]},
            }
        )
    names = tuple(category["name"] for category in ground_truth["categories"])
    things = tuple(c["name"] for c in ground_truth["categories"] if c["isthing"])
    return samples, {"classes": names, "thing_classes": things}, ground_truth


def check_panoptic(found):
    expected = json.loads((DATA / "panoptic" / "expected.json").read_text())
    for group, suffix in (("all", ""), ("things", "_th"), ("stuff", "_st")):
        for key in ("pq", "sq", "rq"):
            value = expected[group]["pq"][key]
            assert found[f"coco_panoptic/{key.upper()}{suffix}"] == pytest.approx(value, abs=2e-6)
        names = {"lrp": "LRP", "lrp_loc": "LRP_Loc", "lrp_fp": "LRP_FP", "lrp_fn": "LRP_FN"}
        for key, name in names.items():
            value = expected[group]["lrp"][key]
            assert found[f"coco_panoptic/{name}{suffix}"] == pytest.approx(value, abs=2e-6)


def panoptic_metric(**options):
    folder = DATA / "panoptic"
    return PanopticLRPMetric(
        ann_file=str(folder / "gt.json"), seg_prefix=str(folder / "gt"), **options
    )
