"""Every figure of the package, drawn of small and unequal data."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
from matplotlib.figure import Figure

from mmdet_rank.evaluation.coco import evaluate_coco
from mmdet_rank.evaluation.confusion import confusion_matrix
from mmdet_rank.evaluation.image_errors import ImageErrors
from mmdet_rank.evaluation.lrp import MatchedDetections
from mmdet_rank.evaluation.report import Evaluation
from mmdet_rank.imbalance import Objects, measure_data
from mmdet_rank.visualization import (
    confusion_picture,
    error_pictures,
    imbalance_figures,
    lrp_components,
    lrp_curves,
    lrp_detectors,
    lrp_over,
    lrp_overview,
    lrp_scatter,
    mask_pictures,
    training_curve,
)

DATA = Path(__file__).parents[1] / "data" / "lrp"


def draw_all() -> dict[str, Figure]:
    """All figures by name."""
    return (
        draw_lrp() | draw_many_classes() | draw_imbalance() | draw_masks() | draw_training()
    ) | {"errors": draw_errors()}


def draw_lrp() -> dict[str, Figure]:
    """Of one detector and of two, with several taus."""
    truth, found = (json.loads((DATA / f"synthetic/{n}.json").read_text()) for n in ("gt", "dt"))
    one = evaluate_coco(truth, found, tau=[0.5, 0.75], backend="pycocotools")
    rng = np.random.default_rng(3)
    kept = [d | {"score": d["score"] ** 2} for d in found if rng.random() < 0.7]
    both = {"one": one, "other": evaluate_coco(truth, kept, backend="pycocotools")}
    reports = {name: evaluation.report() for name, evaluation in both.items()}
    category = list(reports["one"]["per_class"])[1]
    return {
        "overview": lrp_overview.draw_overview(one, "a detector"),
        "s_lrp": lrp_curves.draw_s_lrp_curves(one, title="a detector"),
        "pr": lrp_curves.draw_pr_curves(one, [category]),
        "pr_and_f1": lrp_over.draw_pr_and_f1(one, "a detector"),
        "f1": lrp_over.draw_f1(one, [category], "a detector"),
        "over_tau": lrp_over.draw_over_tau(reports["one"]["over_tau"], "a detector"),
        "components": lrp_components.draw_components(reports["one"], "a detector"),
        "comparison": lrp_components.draw_comparison(
            reports | {"nothing": {"tau": 0.5, "per_class": {}}}
        ),
        "s_lrp_detectors": lrp_detectors.draw_s_lrp_detectors(both),
        "s_lrp_detectors_category": lrp_detectors.draw_s_lrp_detectors(both, category),
        "pr_detectors": lrp_detectors.draw_pr_detectors(both),
        "pr_detectors_category": lrp_detectors.draw_pr_detectors(both, category),
        "thresholds": lrp_detectors.draw_thresholds(both),
        "interpolation": lrp_detectors.draw_interpolation(both, 1),
        "fp_fn": lrp_scatter.draw_fp_fn(reports),
        "confusion": draw_confusion(truth, kept),
        "panoptic": lrp_overview.draw_panoptic_overview(panoptic_report(), "a segmentor"),
    }


def draw_confusion(truth: dict, found: list[dict]) -> Figure:
    """Of the classes of the small data."""
    counts = confusion_matrix(truth, found, 0.2)
    names = [category["name"] for category in truth["categories"]]
    return confusion_picture.draw_confusion(counts, names, "a detector")


def panoptic_report() -> dict:
    """Of two things and a stuff, one of them without any prediction."""
    keys = ("LRP", "LRP_Loc", "LRP_FP", "LRP_FN", "PQ", "SQ", "RQ")
    rows = {"cat": (0.6, 0.2, 0.1, 0.3, 0.5, 0.8, 0.6), "dog": (1.0, None, None, 1.0, 0, None, 0),
            "sky": (0.4, 0.1, 0.2, 0.15, 0.7, 0.9, 0.8)}  # fmt: skip
    per_class = {name: dict(zip(keys, row, strict=True)) for name, row in rows.items()}
    groups = {group: per_class[name] for group, name in
              (("all", "cat"), ("things", "dog"), ("stuff", "sky"))}  # fmt: skip
    is_thing = {"cat": True, "dog": True, "sky": False}
    return {"tau": 0.5, "per_class": per_class, "is_thing": is_thing, **groups}


def draw_many_classes() -> dict[str, Figure]:
    """Of more categories than have room: some without truth, or without a right detection."""
    rng = np.random.default_rng(0)
    matches = {}
    for index in range(15):
        size = int(rng.integers(5, 20))
        right = rng.random(size) < 0.6
        quality = rng.uniform(0.5, 1, size)
        scores = rng.integers(1, 20, size) / 20
        matches[f"class {index}"] = MatchedDetections(scores, right, quality, int(right.sum()) + 3)
    matches["never right"] = MatchedDetections(np.array([0.5]), np.array([False]), np.zeros(1), 2)
    matches["no truth"] = MatchedDetections(np.array([0.5]), np.array([False]), np.zeros(1), 0)
    evaluation = Evaluation(tau=0.5, matches={"all": matches})
    return {
        "overview_many": lrp_overview.draw_overview(evaluation),
        "components_many": lrp_components.draw_components(evaluation.report()),
        "s_lrp_many": lrp_curves.draw_s_lrp_curves(evaluation),
        "pr_many": lrp_curves.draw_pr_curves(evaluation, title="of many"),
    }


def data_set_report() -> dict:
    """Of five images, two without objects, and three classes, one without objects."""
    sizes = [(100, 50), (200, 100), (100, 100), (100, 100), (80, 80)]
    boxes = [(0, 5, [40, 10, 20, 30]), (0, 5, [45, 20, 10, 10]), (0, 9, [0, 0, 50, 10]),
             (1, 5, [90, 40, 20, 20]), (2, 5, [10, 10, 80, 80])]  # fmt: skip
    names = {5: "a", 3: "b", 9: "a name of more than 24 letters"}
    dataset = {
        "images": [{"id": i, "width": w, "height": h} for i, (w, h) in enumerate(sizes)],
        "categories": [{"id": number, "name": name} for number, name in names.items()],
        "annotations": [
            {"image_id": i, "category_id": number, "bbox": box} for i, number, box in boxes
        ],
    }
    return measure_data(Objects.from_coco(dataset), batch_size=2, oversample_thr=0.8)


def draw_imbalance() -> dict[str, Figure]:
    """Of a data set, and of a detector on it."""
    report = data_set_report()
    many = {
        f"class {i}": {"objects": 3 * i, "in_batch": i / 50, "in_batch_balanced": (i + 5) / 60}
        for i in range(45)
    }
    turned = {f"class number {i}": values for i, values in enumerate(list(many.values())[:12])}
    priors = {"per_level": [{"stride": 8, "positives": 3.5, "negatives": 900.0},
                            {"stride": 16, "positives": 0.0, "negatives": 220.0}]}  # fmt: skip
    training = {
        "task_shares": {"classification": 0.55, "boxes": 0.4, "masks": 0.05},
        "classification": {"bbox_head": {"raising": 0.3, "lowering": 0.7}},
        "iou_before": {"edges": [0, 0.25, 0.5, 1], "counts": [1, 4, 2]},
        "iou_after": {"edges": [0, 0.25, 0.5, 1], "counts": [0, 1, 6]},
        "regression_errors": {"edges": [0, 0.25, 0.5, 1], "boxes": [0.0, 0.25, 0.75],
                              "L1": [0.0, 0.4, 0.6], "L2": [0.0, 0.7, 0.3]},
    }  # fmt: skip
    draw = imbalance_figures
    return {
        "classes": draw.draw_classes(report),
        "classes_many": draw.draw_classes(report | {"per_class": many}),
        "classes_at_most": draw.draw_classes(
            report | {"per_class": dict(list(many.items())[:40])}
        ),
        "classes_turned": draw.draw_classes(report | {"per_class": turned}),
        "batches": draw.draw_batches(report),
        "histogram": draw.draw_histogram(report["sizes"]["relative_area"], "area", "objects"),
        "histogram_log": draw.draw_histogram(report["images"]["objects"]["histogram"], "objects",
                                             "images", log=True),
        "aspect_ratios": draw.draw_aspect_ratios(report["sizes"]["log2_aspect_ratio"]),
        "places": draw.draw_places(report["places"]),
        "levels": draw.draw_levels(priors),
        "shares": draw.draw_shares(training),
        "regression": draw.draw_regression(training),
        "error_shares": draw.draw_error_shares(training),
        "paces": draw.draw_paces(
            {"iterations": [20, 40, 60],
             "relative": {"boxes": [1.0, 0.9, 0.7], "masks": [1.0, None, 0.4]}}
        ),
    }  # fmt: skip


def draw_masks() -> dict[str, Figure]:
    """Of masks and of losses on them."""
    drawn: list[Figure] = []
    truth = np.array([[1, 1, 0, 0]] * 3)
    images = [np.full((3, 4, 3), 90, np.uint8), np.full((3, 4, 3), 30, np.uint8)]
    predictions = {"Dice": [truth, 1 - truth], "RS": [truth[::-1], np.roll(truth, 1, 1)]}
    with mock.patch.object(mask_pictures, "_save", lambda figure, path: drawn.append(figure)):
        mask_pictures.draw_masks("", images, [truth, truth], predictions)
        spread = {"IoU": {"Dice": [50.0, 54.0], "RS": [40.0, 41.0]},
                  "AP": {"Dice": [70.0, 72.0], "RS": [80.0, 83.0]}}  # fmt: skip
        mask_pictures.draw_spread("", spread, "percent")
        gains = {
            "thick": (0.08, {0.5: [0.01, 0.02], 1.0: [0.0, -0.01]}),
            "thin": (0.02, {1.5: [0.03]}),
        }
        mask_pictures.draw_margins("", gains)
    return dict(zip(("masks", "spread", "margins"), drawn, strict=True))


def draw_training() -> dict[str, Figure]:
    """Of a training by epochs whose box loss is balanced, and of one by iterations."""
    parts = {"loss_cls": 1.0, "balance_bbox": 2.0, "ranking": 0.7, "sorting": 0.3}
    losses = [
        {"step": 20 * i, "loss": 2.0 - 0.2 * i, "loss_bbox": 1.0 - 0.2 * i} | parts
        for i in range(1, 5)
    ]
    figures = [
        {"step": 1, "coco/bbox_mAP": 0.2, "coco/bbox_oLRP": 0.8},
        {"step": 2, "coco/bbox_mAP": 0.3, "coco/bbox_oLRP": 0.7, "coco/bbox_mAP_50": 0.5},
    ]
    epochs = [
        entry | {"epoch": 1 + (entry["step"] > 40), "iter": entry["step"]} for entry in losses
    ]
    iterations = [entry | {"iter": entry["step"]} for entry in losses]
    return {
        "training_epochs": training_curve.draw_training_curve([*epochs, *figures], "a run"),
        "training_iterations": training_curve.draw_training_curve([*iterations, figures[0]]),
        "training_alone": training_curve.draw_training_curve(epochs),
    }


def draw_errors() -> Figure:
    """Of an image with a right and a false detection, and a missed object."""
    errors = ImageErrors(
        right=[({"bbox": [2, 3, 10, 8], "category_id": 1, "score": 0.9}, 0.83)],
        false=[{"bbox": [20, 5, 6, 7], "category_id": 2, "score": 0.61}],
        missed=[{"bbox": [12, 14, 9, 5], "category_id": 2}],
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "image.png")
        cv2.imwrite(str(path), np.full((20, 30, 3), 40, np.uint8))
        return error_pictures.draw_errors(path, errors, {1: "cat", 2: "dog"})
