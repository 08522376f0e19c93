"""The confusion matrix against the figures of the evaluation, and pairs worked out by hand."""

import json
from pathlib import Path

import numpy as np
import pytest

from mmdet_rank.evaluation.coco import evaluate_coco
from mmdet_rank.evaluation.confusion import confusion_matrix
from mmdet_rank.visualization.confusion_picture import draw_confusion

DATA = Path(__file__).resolve().parents[1] / "data" / "lrp" / "synthetic"


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
@pytest.mark.parametrize("max_dets", [100, 2])
def test_rows_give_the_recall_and_columns_the_precision(iou_type, max_dets):
    truth, found = (json.loads((DATA / f"{name}.json").read_text()) for name in ("gt", "dt"))
    report = evaluate_coco(truth, found, iou_type, max_dets=max_dets).report()
    threshold = report["F1_threshold"]
    counts = confusion_matrix(truth, found, threshold, iou_type, max_dets=max_dets)
    assert counts.shape == (len(truth["categories"]) + 1,) * 2
    assert counts[-1, -1] == 0
    assert counts[:-1, :-1].sum() > np.trace(counts)
    for place, category in enumerate(truth["categories"]):
        values = report["per_class"][category["name"]]
        assert counts[place].sum() == values["num_gt"]
        assert counts[place, place] / counts[place].sum() == pytest.approx(values["recall"])
        assert counts[place, place] / counts[:, place].sum() == pytest.approx(values["precision"])


def item(category, x, width=10.0, **fields):
    fields = {"area": 10 * width} | fields
    return {"image_id": 1, "category_id": category, "bbox": [x, 0.0, width, 10.0]} | fields


CATEGORIES = [{"id": 5, "name": "cat"}, {"id": 2, "name": "dog"}, {"id": 7, "name": "hen"}]


def test_the_greatest_overlaps_are_the_confusions():
    truth = {
        "images": [{"id": 1, "width": 200, "height": 20}, {"id": 2, "width": 9, "height": 9}],
        "categories": CATEGORIES,
        "annotations": [
            item(5, 0.0),  # detected as a cat, and as a dog too
            item(5, 30.0),  # seen as a hen, by the second best score
            item(2, 60.0),  # missed
            item(7, 90.0, 40.0, iscrowd=1),
            item(2, 90.0) | {"image_id": 2},  # the dog in the same place of another image
        ],
    }
    found = [
        item(5, 1.0, score=0.6),
        item(2, 0.0, score=0.9),  # the cat has its own: a dog in nothing
        item(2, 34.0, score=0.8),  # overlaps the second cat by 6 of 14, which is less than half
        item(7, 31.0, score=0.7),
        item(2, 32.0, score=0.9),  # overlaps it by 8 of 12, less than the hen: in nothing
        item(7, 95.0, score=0.9),  # in the crowd
        item(2, 60.0, score=0.4),  # below the threshold
    ]
    counts = confusion_matrix(truth, found, 0.5)
    assert counts.tolist() == [
        [1, 0, 1, 0],
        [0, 0, 0, 2],
        [0, 0, 0, 0],
        [0, 3, 0, 0],
    ]
    assert confusion_matrix(truth, found, 2.0)[:, -1].tolist() == [2, 2, 0, 0]
    assert confusion_matrix(truth, found, 0.5, tau=0.4).tolist() == counts.tolist()
    # The first cat is no longer found by the cat at tau 0.9, and is a dog then.
    assert confusion_matrix(truth, found, 0.5, tau=0.9)[0].tolist() == [0, 1, 0, 1]


def test_the_picture_has_the_counts_and_the_shares_of_the_rows():
    counts = np.array([[6, 2, 0], [0, 0, 0], [3, 1, 0]])
    axes, _ = draw_confusion(counts, ["cat", "dog"], "a detector").axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["cat", "dog", "background"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "dog", "background"]
    shares = axes.images[0].get_array()
    assert shares.filled(-1).tolist() == [[0.75, 0.25, 0], [0, 0, 0], [0.75, 0.25, -1]]
    texts = {text.get_position(): text.get_text() for text in axes.texts}
    assert texts == {(c, r): str(counts[r, c]) for r in range(3) for c in range(3) if r + c < 4}
    many = draw_confusion(np.ones((41, 41), dtype=int), [f"c{i}" for i in range(40)])
    assert len(many.axes[0].texts) == 0
