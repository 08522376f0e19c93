"""Sentences about a detector, on either side of every limit."""

import copy

import pytest

from mmdet_rank.imbalance import find_imbalance

REPORT = {
    "classes": {"ratio": 1.0, "below_ratio": 0.0},
    "sizes": {"side_5_percent": 0.1, "side_95_percent": 0.5, "span": 5.0, "small": 0.1},
    "places": {"middle": 0.12, "unevenness": 0.1},
    "priors": {
        "head": "RetinaHead", "ranks": False, "negatives_per_positive": 19.0,
        "positives_per_image": 10.0, "priors_per_image": 200.0,
        "unreached": 0.01, "unreached_by_size": {"small": 0.25, "medium": 0.0, "large": 0.0},
        "iou_of_positives": {"edges": [0.5, 1.0], "counts": [10]},
        "low_iou_share": 0.5, "high_iou_share": 0.2,
    },
    "training": {
        "task_shares": {"classification": 0.7, "localisation": 0.3},
        "classification": {"bbox_head": {"raising": 0.25, "lowering": 0.75, "ratio": 3.0}},
    },
}  # fmt: skip
KINDS = {
    "background": "Class imbalance: objects against background",
    "scale": "Scale imbalance",
    "places": "Spatial imbalance: places of objects",
    "ious": "Spatial imbalance: IoU of the positives",
    "objective": "Objective imbalance",
}


@pytest.fixture
def found(monkeypatch):
    """Finds the sentence of a kind in the report above, changed at some places."""
    monkeypatch.setattr("mmdet_rank.imbalance.findings._foreground", lambda report: None)

    def find(kind, **changes):
        report = copy.deepcopy(REPORT)
        for path, value in changes.items():
            *groups, key = path.split("__")
            group = report
            for name in groups:
                group = group[name]
            group[key] = value
        (finding,) = [f for f in find_imbalance(report) if f and f.kind == KINDS[kind]]
        return finding

    return find


@pytest.mark.parametrize(
    ("kind", "changes", "level", "words"),
    [
        ("background", {}, "balance", "RetinaHead assigns 10 of 200 priors"),
        ("background", {"priors__negatives_per_positive": 20.0}, "imbalance", "`RankSortLoss`"),
        (
            "background",
            {"priors__negatives_per_positive": 20.0, "priors__ranks": True},
            "balance",
            "bbox_head 25% / 75%.",
        ),
        ("scale", {}, "balance", "10.0% to 50.0% of their image's, 5.0 times as much; 10%"),
        ("scale", {"sizes__span": 8.0}, "imbalance", "A pyramid (`FPN`)"),
        ("scale", {"sizes__small": 0.4}, "imbalance", "larger images (the `scale` of `Resize`)"),
        ("scale", {"priors__unreached": 0.02}, "balance", "2.0% of the objects get no prior"),
        ("scale", {"priors__unreached": 0.03}, "imbalance", "of the small ones 25.0%: change"),
        ("places", {}, "balance", "holds 12% of the objects' centres"),
        ("places", {"places__unevenness": 0.2}, "imbalance", "20% would have to move"),
        ("ious", {}, "balance", "50% of the positive priors overlap"),
        ("ious", {"priors__low_iou_share": 0.6}, "imbalance", "and 20% by 0.8 or more: box"),
        ("ious", {"priors__iou_of_positives": None}, "not measured", "`--config`"),
        ("objective", {}, "balance", "70% classification, 30% localisation: no task drowns"),
        (
            "objective",
            {"training__task_shares": {"classification": 0.75, "localisation": 0.25}},
            "imbalance",
            "75% classification, 25% localisation. `criterion=dict(balance='value')`",
        ),
        # A task without any loss says nothing of the others.
        ("objective", {"training__task_shares": {"a": 1.0, "b": 0.0}}, "balance", "100% a, 0% b"),
        ("objective", {"training": None}, "not measured", "`--checkpoint`"),
    ],
)
def test_limits(found, kind, changes, level, words):
    finding = found(kind, **changes)
    assert finding.level == level
    assert words in finding.text
