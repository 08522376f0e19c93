"""One limit of detections for all figures, and ids of any kind."""

import json

import pytest
import torch
from coco_files import sound_file
from mmengine.logging import MMLogger

from mmdet_rank.evaluation.coco import evaluate_coco
from mmdet_rank.evaluation.metrics import CocoLRPMetric

NUM = 150


@pytest.fixture
def crowded():
    """A hundred and fifty objects of a class in an image, and exact detections of them all."""
    boxes = [[18 * (i % 15), 18 * (i // 15), 12, 12] for i in range(NUM)]
    truth = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 300, "height": 200}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [
            {"id": i, "image_id": 1, "category_id": 1, "bbox": box, "area": 144, "iscrowd": 0}
            for i, box in enumerate(boxes)
        ],
    }
    results = [
        {"image_id": 1, "category_id": 1, "bbox": box, "score": 0.9 - i / 1000}
        for i, box in enumerate(boxes)
    ]
    return truth, results


def metric_of(truth, results, folder, **options):
    path = folder / "gt.json"
    path.write_text(json.dumps(truth))
    metric = CocoLRPMetric(str(path), **options)
    metric.dataset_meta = {"classes": tuple(c["name"] for c in truth["categories"])}
    labels = {c["id"]: i for i, c in enumerate(truth["categories"])}
    for image in truth["images"]:
        own = [d for d in results if d["image_id"] == image["id"]]
        boxes = torch.tensor([[x, y, x + w, y + h] for x, y, w, h in (d["bbox"] for d in own)])
        sample = {
            "img_id": image["id"],
            "ori_shape": (image["height"], image["width"]),
            "pred_instances": {
                "bboxes": boxes.float().reshape(-1, 4),
                "scores": torch.tensor([d["score"] for d in own]),
                "labels": torch.tensor([labels[d["category_id"]] for d in own]),
            },
        }
        metric.process({}, [sample])
    return metric.evaluate(size=len(truth["images"]))


@pytest.mark.parametrize(
    ("limit", "found"), [(None, 100), (100, 100), (120, 120), (150, 150), (1000, 150)]
)
def test_one_limit_for_all_figures(crowded, tmp_path, limit, found, monkeypatch):
    truth, results = crowded
    evaluation = evaluate_coco(truth, results, max_dets=limit)
    report = evaluation.report()
    assert report["oLRP"] == pytest.approx(1 - found / NUM)
    assert report["oLRP_FN"] == pytest.approx(1 - found / NUM)
    # 101 recalls from 0 to 1, up to the one that is reached.
    assert report["AP"] == pytest.approx(int(100 * found / NUM + 1) / 101, abs=1e-9)
    assert report["AP50"] == report["AP75"] == report["AP"]
    assert report["AR"] == pytest.approx(found / NUM)
    binds = [note for note in evaluation.notes if "cannot be found" in note]
    assert len(binds) == (found < NUM)
    if binds:
        assert f"limit of {limit or 100} detections per image" in binds[0]
        assert f"{NUM - found} objects in 1 image(s)" in binds[0]

    warned = []
    logger = MMLogger.get_current_instance()
    monkeypatch.setattr(logger, "warning", lambda text, *_: warned.append(text))
    options = {} if limit is None else {"max_dets": limit}
    figures = metric_of(truth, results, tmp_path, **options)
    assert figures["coco/bbox_oLRP"] == pytest.approx(report["oLRP"])
    for name in ("mAP", "mAP_50", "mAP_75"):
        assert figures[f"coco/bbox_{name}"] == pytest.approx(report["AP"], abs=1e-3)
    assert [text for text in warned if "cannot be found" in text] == binds


@pytest.mark.parametrize("limit", [50, 100, 120])
def test_recall_is_that_of_the_number_in_its_name(crowded, tmp_path, limit):
    names = ("mAP", "mAP_50", "AR@100", "AR@300", "AR@1000", "AR_s@1000")
    found = metric_of(*crowded, tmp_path, max_dets=limit, metric_items=names)
    assert [found[f"coco/bbox_{name}"] for name in names[2:]] == [0.667, 1.0, 1.0, 1.0]
    average = pytest.approx(int(100 * limit / NUM + 1) / 101, abs=1e-3)
    assert found["coco/bbox_mAP"] == found["coco/bbox_mAP_50"] == average
    assert found["coco/bbox_oLRP"] == pytest.approx(1 - limit / NUM)


@pytest.mark.parametrize("detected", [True, False])
def test_the_summary_has_average_precision_at_the_limit(
    detected, crowded, tmp_path, monkeypatch, capsys
):
    truth, results = crowded
    lines = []
    monkeypatch.setattr(
        MMLogger.get_current_instance(), "info", lambda text, *_: lines.append(text)
    )
    metric_of(truth, results if detected else [], tmp_path, max_dets=120)
    average = "0.802" if detected else "0.000"
    printed = [line for line in capsys.readouterr().out.splitlines() if "Average" in line]
    assert len(printed) == 12
    for line, kind in zip(
        printed, ("IoU=0.50:0.95", "IoU=0.50     ", "IoU=0.75     "), strict=False
    ):
        assert line.endswith(f"@[ {kind} | area=   all | maxDets=120 ] = {average}")
    copied = next(line for line in lines if "mAP_copypaste" in line)
    assert copied == f"bbox_mAP_copypaste: {' '.join([average] * 4)} -1.000 -1.000"


def test_proposals_leave_the_limit_of_boxes_as_it_is(crowded, tmp_path):
    found = metric_of(*crowded, tmp_path, max_dets=50, metric=["bbox", "proposal"])
    assert [found[f"coco/AR@{number}"] for number in (100, 300, 1000)] == [0.667, 1.0, 1.0]
    for name in ("mAP", "mAP_50", "mAP_75", "mAP_s"):
        assert found[f"coco/bbox_{name}"] == pytest.approx(34 / 101, abs=1e-3)
    assert found["coco/bbox_oLRP"] == pytest.approx(1 - 50 / NUM)


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, "100"])
def test_limits_that_are_none(crowded, limit):
    with pytest.raises(ValueError, match="Expected max_dets to be a whole number"):
        evaluate_coco(*crowded, max_dets=limit)
    with pytest.raises(ValueError, match="Expected max_dets to be a whole number"):
        CocoLRPMetric(max_dets=limit)


@pytest.mark.parametrize("kind", ["plain", "texts", "zero", "huge", "same", "none"])
def test_annotation_ids_of_any_kind_give_the_same_figures(kind, tmp_path):
    truth = sound_file()
    results = [
        {"image_id": a["image_id"], "category_id": a["category_id"], "score": 0.9 - i / 10}
        | {"bbox": [a["bbox"][0] + 1, *a["bbox"][1:]]}
        for i, a in enumerate(truth["annotations"])
    ]
    expected = evaluate_coco(truth, results).report()
    for index, entry in enumerate(truth["annotations"]):
        entry["id"] = {
            **{"plain": index + 1, "texts": f"a{index}", "zero": index},
            **{"huge": 2**60 + index, "same": 3, "none": None},
        }[kind]
    assert evaluate_coco(truth, results).report() == expected
    figures = metric_of(truth, results, tmp_path)
    assert figures["coco/bbox_oLRP"] == pytest.approx(expected["oLRP"], abs=1e-6)
    assert figures["coco/bbox_mAP"] == pytest.approx(expected["AP"], abs=1e-3)


def test_objects_marked_ignore_count_and_are_told():
    truth = sound_file()
    found = truth["annotations"][0]
    results = [
        {
            "image_id": a["image_id"],
            "category_id": a["category_id"],
            "bbox": a["bbox"],
            "score": 0.5,
        }
        for a in truth["annotations"]
        if a is not found
    ]
    plain = evaluate_coco(truth, results)
    found["ignore"] = 1
    told = evaluate_coco(truth, results)
    assert told.report()["oLRP"] == plain.report()["oLRP"] > 0
    assert [note for note in told.notes if note not in plain.notes] == [
        "ground truth: 1 objects are marked 'ignore', which training leaves out, and count all the "
        "same, as in pycocotools; mark them iscrowd to leave them out here too."
    ]
