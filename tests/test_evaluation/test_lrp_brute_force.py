"""Small drawn data sets against a matching written by hand and every subset by score."""

import json

import brute_force_lrp as slow
import numpy as np
import pytest

from mmdet_rank.evaluation.coco import evaluate_coco
from mmdet_rank.evaluation.lrp import optimal_lrp

CATEGORIES = 3


def draw_data(seed, *, federated=False):
    """Draw a few images with overlapping boxes on a grid, tied scores and crowds.

    Small integers make equal IoUs, IoUs of exactly tau, and equal scores frequent.
    """
    rng = np.random.default_rng(seed)
    images = [
        {"id": 10 + i, "width": 40, "height": 40, "file_name": f"{i}.jpg"}
        for i in range(int(rng.integers(1, 4)))
    ]
    categories = [{"id": 3 * c + 1, "name": f"class {c}"} for c in range(CATEGORIES)]
    annotations, detections = [], []
    for image in images:
        for category in categories:
            for _ in range(int(rng.integers(0, 4))):
                box = [*rng.integers(0, 12, 2).tolist(), *rng.integers(6, 20, 2).tolist()]
                annotations.append(
                    {
                        "id": len(annotations),
                        "image_id": image["id"],
                        "category_id": category["id"],
                        "bbox": box,
                        "area": box[2] * box[3],
                        "iscrowd": 0 if federated else int(rng.random() < 0.2),
                    }
                )
                for _ in range(int(rng.integers(0, 3))):
                    x, y, w, h = np.array(box) + rng.integers(-2, 3, 4)
                    detections.append(detection(rng, image, category, [x, y, w, h]))
            for _ in range(int(rng.integers(0, 2))):
                box = [*rng.integers(0, 12, 2), *rng.integers(6, 20, 2)]
                detections.append(detection(rng, image, category, box))
        if federated:
            ids = [category["id"] for category in categories]
            image["neg_category_ids"] = [i for i in ids if rng.random() < 0.5]
            image["not_exhaustive_category_ids"] = [i for i in ids if rng.random() < 0.3]
    for category in categories:
        category["frequency"] = "f"
    order = rng.permutation(len(detections))
    return (
        {"images": images, "annotations": annotations, "categories": categories},
        [detections[i] for i in order],
    )


def detection(rng, image, category, box):
    return {
        "image_id": image["id"],
        "category_id": category["id"],
        "bbox": [int(v) for v in box],
        "score": int(rng.integers(1, 6)) / 5,
    }


def by_image(ground_truth, detections, category):
    """(objects, detections, whether unmatched ones are ignored) of a category in each image."""
    for image in ground_truth["images"]:

        def here(item, image=image):
            return item["image_id"] == image["id"] and item["category_id"] == category["id"]

        objects = [{**o, "ignore": o["iscrowd"]} for o in ground_truth["annotations"] if here(o)]
        found = [d for d in detections if here(d)]
        loose = category["id"] in image.get("not_exhaustive_category_ids", ())
        known = category["id"] in image.get("neg_category_ids", (category["id"],))
        yield objects, found if objects or known else [], loose


def check(evaluation, ground_truth, detections, tau):
    found = evaluation.optimal()
    for category in ground_truth["categories"]:
        images = list(by_image(ground_truth, detections, category))
        expected = slow.optimal(images, tau)
        if np.isnan(expected[0]):
            assert category["name"] not in found
        else:
            np.testing.assert_allclose(found[category["name"]], expected, atol=1e-12)
    defined = [v.lrp for v in found.values()]
    report = evaluation.report()
    assert report["oLRP"] == (pytest.approx(np.mean(defined)) if defined else None)


@pytest.mark.parametrize("tau", [0.5, 0.62])
@pytest.mark.parametrize("first", range(0, 200, 50))
def test_coco_boxes(first, tau):
    cases = 0
    for seed in range(first, first + 50):
        ground_truth, detections = draw_data(seed)
        if not detections:
            continue
        evaluation = evaluate_coco(ground_truth, detections, "bbox", tau=tau)
        check(evaluation, ground_truth, detections, tau)
        cases += 1
    assert cases > 40


def test_applying_thresholds_to_the_results_reproduces_the_values():
    for seed in range(60):
        ground_truth, detections = draw_data(seed)
        if not detections:
            continue
        before = evaluate_coco(ground_truth, detections, "bbox").optimal()
        names = {c["id"]: c["name"] for c in ground_truth["categories"]}
        kept = [
            d
            for d in detections
            if names[d["category_id"]] in before
            and d["score"] >= before[names[d["category_id"]]].threshold
        ]
        if not kept:
            continue
        after = evaluate_coco(ground_truth, kept, "bbox").optimal()
        for name, value in before.items():
            np.testing.assert_array_equal(after[name], value)


def test_sizes_of_objects():
    """An object outside of a size range, and what matches it, is no part of its figures."""
    ground_truth = {
        "images": [{"id": 1, "width": 400, "height": 400}],
        "categories": [{"id": 1, "name": "thing"}],
        "annotations": [
            {"image_id": 1, "category_id": 1, "bbox": [0, 0, 20, 20]},
            {"image_id": 1, "category_id": 1, "bbox": [100, 100, 100, 100]},
            {"image_id": 1, "category_id": 1, "bbox": [100, 300, 100, 100]},
        ],
    }
    results = [
        {"image_id": 1, "category_id": 1, "bbox": [0, 0, 20, 15], "score": 0.9},
        {"image_id": 1, "category_id": 1, "bbox": [100, 100, 100, 100], "score": 0.8},
        {"image_id": 1, "category_id": 1, "bbox": [300, 300, 50, 50], "score": 0.7},
    ]
    report = evaluate_coco(ground_truth, results, "bbox").report()
    assert report["oLRP_s"] == pytest.approx(0.5)
    # The false positive is of medium size, and there is no medium object.
    assert report["oLRP_m"] is None
    assert report["oLRP_l"] == pytest.approx(0.5)


def test_annotation_id_zero_is_found():
    """Zero is pycocotools' sign for no match."""
    ground_truth = {
        "images": [{"id": 0, "width": 9, "height": 9}],
        "categories": [{"id": 0, "name": "thing"}],
        "annotations": [{"id": 0, "image_id": 0, "category_id": 0, "bbox": [0, 0, 5, 5]}],
    }
    results = [{"image_id": 0, "category_id": 0, "bbox": [0, 0, 5, 5], "score": 0.9}]
    report = evaluate_coco(ground_truth, results, "bbox").report()
    assert report["oLRP"] == 0.0
    assert report["AP"] == pytest.approx(1.0)


def test_masks_in_all_notations_agree():
    square = [2, 2, 2, 8, 8, 8, 8, 2]
    ground_truth = {
        "images": [{"id": 1, "width": 10, "height": 12}],
        "categories": [{"id": 1, "name": "thing"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [square]}],
    }
    mask = np.zeros((12, 10), dtype=np.uint8)
    mask[2:8, 2:8] = 1
    runs = np.diff(np.flatnonzero(np.diff(mask.ravel(order="F"), prepend=0, append=0)))
    counts = [2 * 12 + 2, *runs.tolist()]
    counts.append(120 - sum(counts))
    notations = [[square], {"size": [12, 10], "counts": counts}]
    for segmentation in notations:
        results = [{"image_id": 1, "category_id": 1, "score": 0.5, "segmentation": segmentation}]
        report = evaluate_coco(json.loads(json.dumps(ground_truth)), results, "segm").report()
        assert report["oLRP"] == pytest.approx(0.0)


def test_lvis_federated_rules():
    pytest.importorskip("lvis")
    from mmdet_rank.evaluation.lvis import evaluate_lvis

    cases = 0
    for seed in range(150):
        ground_truth, detections = draw_data(seed, federated=True)
        if not detections or not ground_truth["annotations"]:
            continue
        tau = 0.5 if seed % 3 else 0.62
        check(evaluate_lvis(ground_truth, detections, tau=tau), ground_truth, detections, tau)
        cases += 1
    assert cases > 120


def test_lvis_equals_coco_where_everything_is_annotated():
    pytest.importorskip("lvis")
    from mmdet_rank.evaluation.lvis import evaluate_lvis

    for seed in range(20):
        ground_truth, detections = draw_data(seed, federated=True)
        if not detections:
            continue
        for image in ground_truth["images"]:
            image["neg_category_ids"] = [c["id"] for c in ground_truth["categories"]]
            image["not_exhaustive_category_ids"] = []
        lvis = evaluate_lvis(ground_truth, detections).report()
        coco = evaluate_coco(ground_truth, detections, max_dets=300).report()
        for key, value in coco.items():
            if key != "per_class":
                assert lvis[key] == (value if value is None else pytest.approx(value, abs=1e-12))
        assert list(lvis["per_class"]) == list(coco["per_class"])
        for name, values in coco["per_class"].items():
            expected = {k: pytest.approx(values[k], abs=1e-12) for k in ("AP", "AP50", "AP75")}
            assert lvis["per_class"][name] == values | expected


def test_functions_take_what_the_evaluation_collects():
    ground_truth, detections = draw_data(1)
    evaluation = evaluate_coco(ground_truth, detections)
    for name, value in evaluation.optimal().items():
        np.testing.assert_array_equal(optimal_lrp(*evaluation.matches["all"][name]), value)
