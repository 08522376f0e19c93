"""The errors of single images agree with the evaluation of all of them."""

import numpy as np
import pytest
from pycocotools import mask as mask_utils

from mmdet_rank.evaluation.coco import evaluate_coco
from mmdet_rank.evaluation.image_errors import image_errors
from mmdet_rank.visualization.error_pictures import draw_errors


def random_data(seed=0, num_images=6):
    rng = np.random.default_rng(seed)
    images = [{"id": 5 + i, "width": 100, "height": 80, "file_name": f"{i}"} for i in range(6)]
    truth, found = [], []
    for image in images[:num_images]:
        for _ in range(rng.integers(0, 5)):
            x, y, w, h = (float(v) for v in rng.integers(5, 35, 4))
            category = int(rng.integers(1, 3))
            truth.append(
                {
                    "id": len(truth) + 1,
                    "image_id": image["id"],
                    "category_id": category,
                    "bbox": [x, y, w, h],
                    "area": w * h,
                    "iscrowd": int(rng.random() < 0.15),
                }
            )
            for _ in range(rng.integers(0, 3)):
                moved = [v + float(rng.normal(0, 3)) for v in (x, y, w, h)]
                found.append(
                    {
                        "image_id": image["id"],
                        "category_id": category,
                        "bbox": moved,
                        "score": float(rng.random()),
                    }
                )
    categories = [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]
    return {"images": images, "annotations": truth, "categories": categories}, found


@pytest.mark.parametrize("seed", range(4))
def test_sums_over_images_are_the_counts_of_the_evaluation(seed):
    truth, found = random_data(seed)
    thresholds = {"a": 0.3, "b": 0.5}
    errors = image_errors(truth, found, thresholds)
    assert list(errors) == [image["id"] for image in truth["images"]]
    for category in truth["categories"]:
        matched = evaluate_coco(truth, found, "bbox").matches["all"][category["name"]]
        kept = matched.scores >= thresholds[category["name"]]
        right = [
            quality
            for image in errors.values()
            for detection, quality in image.right
            if detection["category_id"] == category["id"]
        ]
        false = sum(d["category_id"] == category["id"] for e in errors.values() for d in e.false)
        missed = sum(o["category_id"] == category["id"] for e in errors.values() for o in e.missed)
        assert sorted(right) == pytest.approx(sorted(matched.quality[kept & matched.is_tp]))
        assert false == (kept & ~matched.is_tp).sum()
        assert missed == matched.num_gt - len(right)


def test_masks_and_classes_without_a_threshold():
    mask = np.zeros((20, 30), np.uint8, order="F")
    mask[2:10, 4:14] = 1
    rle = mask_utils.encode(mask)
    item = {"image_id": 1, "category_id": 1, "bbox": [4, 2, 10, 8]}
    truth = {
        "images": [{"id": 1, "width": 30, "height": 20}],
        "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
        "annotations": [item | {"segmentation": [[4, 2, 14, 2, 14, 10, 4, 10]]}],
    }
    found = [
        item | {"segmentation": rle, "score": 0.6},
        item | {"segmentation": rle, "score": 0.9, "category_id": 2},
    ]
    errors = image_errors(truth, found, {"a": 0.5}, "segm")[1]
    assert [quality for _, quality in errors.right] == [1.0]
    assert errors.lrp == 0
    errors = image_errors(truth, found, {"a": 0.7, "b": 0.7}, "segm")[1]
    assert (len(errors.right), len(errors.false), len(errors.missed)) == (0, 1, 1)
    assert errors.lrp == 1


def test_a_picture_of_errors(tmp_path):
    from PIL import Image

    Image.new("RGB", (100, 80), (30, 60, 90)).save(tmp_path / "a.png")
    truth, found = random_data(1)
    errors = max(image_errors(truth, found, {"a": 0, "b": 0}).values(), key=lambda e: len(e.right))
    figure = draw_errors(tmp_path / "a.png", errors, {1: "a $", 2: "b_{"})
    figure.savefig(tmp_path / "drawn.png")
    (axes,) = figure.axes
    number = len(errors.right) + len(errors.false) + len(errors.missed)
    assert len(axes.patches) == len(axes.texts) == number
    assert {t.get_text()[0] for t in axes.texts} <= {"a", "b"}
