"""LRP-optimal thresholds: files, score floor, filtering predictions."""

import json

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from mmdet_rank.evaluation.thresholds import (
    ScoreThresholds,
    load_thresholds,
    report_thresholds,
    score_floor,
    thresholds_at_floor,
)

CLASSES = ("cat", "dog", "eel")


def sample(scores, labels):
    count = len(scores)
    instances = InstanceData(
        bboxes=torch.zeros(count, 4), scores=torch.tensor(scores), labels=torch.tensor(labels)
    )
    return DetDataSample(pred_instances=instances)


def test_thresholds_go_by_name_and_keep_what_equals_them():
    keeper = ScoreThresholds({"dog": 0.5, "cat": 0.3}, CLASSES)
    assert keeper.missing == ["eel"]
    output = [sample([0.3, 0.3, 0.29, 0.5, 0.01], [0, 1, 0, 1, 2]), DetDataSample()]
    # The thresholds are those of float32 scores, as an evaluation of a detector has them.
    thresholds = {"dog": float(np.float32(0.5)), "cat": float(np.float32(0.3))}
    kept = ScoreThresholds(thresholds, CLASSES)(None, None, output)
    assert kept[0].pred_instances.labels.tolist() == [0, 1, 2]
    assert len(kept[0].pred_instances.bboxes) == 3
    assert keeper(None, None, {"loss": 1}) == {"loss": 1}


def test_no_prediction():
    empty = sample([], [])
    empty.pred_instances.labels = empty.pred_instances.labels.long()
    assert len(ScoreThresholds({"cat": 0.5}, CLASSES)(None, None, [empty])[0].pred_instances) == 0


def test_unknown_name():
    with pytest.raises(ValueError, match=r"\['cow'\]; it knows \['cat', 'dog', 'eel'\]"):
        ScoreThresholds({"cow": 0.5, "cat": 0.1}, CLASSES)


def test_files(tmp_path):
    path = tmp_path / "thresholds.json"
    path.write_text('{"cat": 0.25, "dog": 1}')
    assert load_thresholds(path) == {"cat": 0.25, "dog": 1.0}
    report = {"per_class": {"cat": {"threshold": 0.5}, "dog": {"threshold": None}}}
    assert report_thresholds(report) == {"cat": 0.5}
    path.write_text(json.dumps(report))
    assert load_thresholds(path) == {"cat": 0.5}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "Expected JSON"),
        ("[0.5]", "Expected a thresholds file"),
        ('{"cat": "high"}', "Expected a thresholds file"),
        ('{"cat": true}', "Expected a thresholds file"),
        ('{"cat": NaN}', "Expected a thresholds file"),
        ('{"per_class": {"cat": {"PQ": 1}}}', "panoptic report"),
    ],
)
def test_bad_files(content, message, tmp_path):
    path = tmp_path / "thresholds.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        load_thresholds(path)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load_thresholds(tmp_path / "none.json")


def test_score_floor():
    assert score_floor(None) == 0.0
    assert score_floor({"score_thr": 0.05}) == 0.05
    assert score_floor({"rpn": {}, "rcnn": {"score_thr": 0.1}}) == 0.1
    assert score_floor({"rcnn": [{"score_thr": 0.3}, {"score_thr": 0.2}]}) == 0.2
    assert score_floor({"score_thr": 0.1, "filter_thr": 0.05}) == 0.05
    assert thresholds_at_floor({"cat": 0.055, "dog": 0.07}, 0.05) == ["cat"]
    assert thresholds_at_floor({"cat": 0.0}, 0.0) == []
