"""The page of ``analyze`` says what it said when somebody read it."""

import difflib
import re
from pathlib import Path

import figures_drawn

from mmdet_rank.visualization.imbalance_page import imbalance_page

SAID = Path(__file__).parents[1] / "data" / "imbalance_page.txt"
PRIORS = {
    "head": "ATSSHead",
    "images": 3,
    "ranks": False,
    "priors_per_image": 15000.0,
    "high_iou_share": 0.2,
    "positives_per_image": 12.25,
    "ignored_per_image": 0.5,
    "negatives_per_positive": 1234.5,
    "per_level": [
        {"stride": 8, "positives": 3.5, "negatives": 900.0},
        {"stride": 16, "positives": 0.0, "negatives": 220.0},
    ],
    "iou_of_positives": {"edges": [0, 0.5, 1], "counts": [1, 3]},
    "low_iou_share": 0.3,
    "unreached": 0.125,
    "unreached_by_size": {"small": 0.25, "medium": 0.0, "large": 0.0},
    "positives_per_object": {"a": 4.5, "b": 2.25},
}
TRAINING = {
    "images": 3,
    "task_shares": {"classification": 0.55, "boxes": 0.45},
    "classification": {"bbox_head": {"raising": 0.3, "lowering": 0.7, "ratio": 2.3333}},
    "iou_before": {"edges": [0, 0.5, 1], "counts": [4, 2]},
    "iou_after": {"edges": [0, 0.5, 1], "counts": [1, 5]},
    "iou_mean": {"before": 0.45, "after": 0.71},
    "made_worse": 0.0625,
    "regression_errors": {
        "edges": [i / 10 for i in range(11)],
        "boxes": [0, 0, 0.02, 0.08, 0.1, 0.2, 0.2, 0.2, 0.1, 0.1],
        "L1": [0, 0, 0.1, 0.2, 0.2, 0.2, 0.1, 0.1, 0.05, 0.05],
        "L2": [0, 0, 0.3, 0.3, 0.2, 0.1, 0.05, 0.03, 0.01, 0.01],
    },
    "losses": {"loss_cls": 0.81234, "loss_bbox": 0.6},
    "gradients": {"bbox_head": {"classification": 0.01234, "boxes": 0.5}},
}
PACES = {
    "iterations": [20, 40],
    "relative": {"classification": [1.0, 0.5], "boxes": [1.0, 0.75]},
    "left": {"classification": 0.5, "boxes": 0.75},
}


def said():
    """The texts of the page, a line each; of a picture that there is one."""
    data = figures_drawn.data_set_report()
    whole = data | {"priors": PRIORS, "training": TRAINING, "paces": PACES}
    texts = []
    for report, title in ((data, "cells"), (whole, "cells & more")):
        body = imbalance_page(report, title).render().partition("<body")[2]
        body = re.sub(r"<img[^>]*>", "(picture)", body)
        texts += [line.strip() for line in re.sub(r"<[^>]*>", "\n", body).split("\n")]
    return [text for text in texts if text and text != ">"]


def test_the_page_says_what_it_did():
    before, now = SAID.read_text(encoding="utf-8").splitlines(), said()
    assert now == before, "\n".join(difflib.unified_diff(before, now, lineterm=""))


if __name__ == "__main__":
    # After a wanted change, with PYTHONPATH=.:tests/helpers; read the difference, then commit.
    SAID.write_text("\n".join(said()) + "\n", encoding="utf-8")
