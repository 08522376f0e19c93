"""faster-coco-eval gives what pycocotools gives: the same matches, and AP but for rounding."""

import sys

import numpy as np
import pytest
from drawn_coco_files import SIZE, draw_files
from mmdet.evaluation.metrics import CocoMetric
from pycocotools.coco import COCO

from mmdet_rank.evaluation import faster
from mmdet_rank.evaluation.coco import evaluate_coco
from mmdet_rank.evaluation.metrics import CocoLRPMetric

pytest.importorskip("faster_coco_eval")


def assert_equal(actual, expected):
    assert actual.matches.keys() == expected.matches.keys()
    for area, by_name in expected.matches.items():
        for name, value in by_name.items():
            for a, b in zip(actual.matches[area][name], value, strict=True):
                np.testing.assert_array_equal(a, b)
    np.testing.assert_equal(actual.other_taus, expected.other_taus)
    for key, value in expected.figures.items():
        assert actual.figures[key] == pytest.approx(value, abs=1e-12, nan_ok=True), key


@pytest.mark.parametrize("iou_type", ["bbox", "segm", "keypoints"])
def test_equal_to_pycocotools(iou_type):
    for seed in range(12):
        truth, results = draw_files(seed, iou_type)
        if not results:
            continue
        max_dets = (None, 10, 1)[seed % 3]
        evaluations = [
            evaluate_coco(
                truth, results, iou_type, tau=(0.5, 0.0, 0.33), max_dets=max_dets, backend=backend
            )
            for backend in ("faster", "pycocotools")
        ]
        assert_equal(*evaluations)
        one, other = (evaluation.report()["per_class"] for evaluation in evaluations)
        assert list(one) == list(other)
        for name, values in other.items():
            expected = {k: pytest.approx(values[k], abs=1e-12) for k in ("AP", "AP50", "AP75")}
            assert one[name] == values | expected


def test_an_object_of_id_0_is_left_to_pycocotools(monkeypatch):
    truth = COCO()
    for number, backend in ((1, "faster"), (0, "pycocotools")):
        truth.anns = {number: None}
        assert faster.choose_backend("auto", truth) == backend
    monkeypatch.setattr(faster, "_is_installed", lambda: False)
    assert faster.choose_backend("auto") == "pycocotools"
    with pytest.raises(ImportError, match="pip install faster-coco-eval"):
        faster.choose_backend("faster")
    with pytest.raises(ValueError, match=r"one of .* but got 'fast'"):
        CocoLRPMetric(backend="fast")


@pytest.mark.parametrize("metric", [["bbox"], ["proposal"]])
def test_metric_has_the_figures_of_cocometric(metric, tmp_path):
    import json

    import torch

    truth, results = draw_files(3, "bbox")
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(truth))
    names = [category["name"] for category in truth["categories"]]
    label_of = {category["id"]: i for i, category in enumerate(truth["categories"])}
    samples = []
    for image in truth["images"]:
        own = [r for r in results if r["image_id"] == image["id"]]
        boxes = torch.tensor([r["bbox"] for r in own]).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        found = dict(
            bboxes=boxes,
            labels=torch.tensor([label_of[r["category_id"]] for r in own], dtype=torch.int64),
            scores=torch.tensor([r["score"] for r in own]),
        )
        samples.append(dict(img_id=image["id"], ori_shape=(SIZE, SIZE), pred_instances=found))
    figures = []
    for kind, options in (
        (CocoMetric, {}),
        (CocoLRPMetric, {"backend": "faster", "max_dets": 60}),
        (CocoLRPMetric, {"backend": "pycocotools", "max_dets": 60}),
    ):
        evaluator = kind(
            ann_file=str(path),
            metric=metric,
            classwise=True,
            proposal_nums=(1, 10, 100),
            **options,
        )
        evaluator.dataset_meta = dict(classes=names)
        evaluator.process({}, [dict(sample) for sample in samples])
        figures.append(evaluator.evaluate(len(samples)))
    stock, fast, slow = figures
    # MMDetection names by the order in the file what goes by the order of the ids.
    by_id = [category["name"] for category in sorted(truth["categories"], key=lambda c: c["id"])]
    assert by_id != names
    values = [stock.pop(f"coco/{name}_precision", None) for name in names]
    if metric == ["bbox"]:
        stock |= {f"coco/{n}_precision": v for n, v in zip(by_id, values, strict=True)}
    assert {key: fast[key] for key in stock} == pytest.approx(stock, nan_ok=True)
    assert fast == pytest.approx(slow, nan_ok=True, abs=1e-12)
    assert "faster_coco_eval" in sys.modules


@pytest.mark.parametrize("texts", [("images",), ("categories",), ("images", "categories")])
def test_ids_that_are_texts_are_left_to_pycocotools(texts):
    truth, results = draw_files(3, "bbox")
    expected = evaluate_coco(truth, results, backend="pycocotools")
    for kind in texts:
        key = {"images": "image_id", "categories": "category_id"}[kind]
        truth[kind] = [entry | {"id": f"n{entry['id']:05}"} for entry in truth[kind]]
        truth["annotations"], results = (
            [entry | {key: f"n{entry[key]:05}"} for entry in entries]
            for entries in (truth["annotations"], results)
        )
    assert_equal(evaluate_coco(truth, results), expected)
    with pytest.raises(ValueError, match="but got texts; choose backend='pycocotools'"):
        evaluate_coco(truth, results, backend="faster")
