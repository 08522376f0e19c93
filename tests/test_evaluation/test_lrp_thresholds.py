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
    midway_threshold,
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


class OnApple(torch.Tensor):
    """A tensor that says it is on Apple's MPS, where float64 is refused."""

    @property
    def device(self):
        return torch.device("mps")

    def double(self):
        raise TypeError("Cannot convert a MPS Tensor to float64")

    def new_tensor(self, values):
        return torch.tensor(values, dtype=self.dtype)


def test_thresholds_on_a_device_without_float64():
    one = sample([0.3, 0.6], [0, 0])
    one.pred_instances.scores = one.pred_instances.scores.as_subclass(OnApple)
    kept = ScoreThresholds({"cat": 0.5}, CLASSES).filter(one.pred_instances)
    assert kept.scores.tolist() == pytest.approx([0.6])


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
        ('{"per_class": {"cat": 0.4}}', "Expected a thresholds file"),
        ('{"per_class": {"cat": "threshold"}}', "Expected a thresholds file"),
    ],
)
def test_bad_files(content, message, tmp_path):
    path = tmp_path / "thresholds.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        load_thresholds(path)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_thresholds(tmp_path / "none.json")


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_a_midway_threshold_keeps_the_same_detections_when_scores_are_rounded_otherwise(dtype):
    rng = np.random.default_rng(3)
    scores = rng.permutation(np.linspace(0.05, 0.95, 31)).astype(dtype)
    for last_kept in np.sort(scores):
        kept = scores >= last_kept
        threshold = midway_threshold(scores, float(last_kept))
        for other in (scores.astype(np.float16), scores * (1 + 1e-3), scores * (1 - 1e-3)):
            np.testing.assert_array_equal(other.astype(np.float64) >= threshold, kept)


def test_midway_thresholds_at_the_ends():
    assert midway_threshold([0.5, 0.75, 0.5], 0.75) == 0.625
    assert midway_threshold([0.5, 0.75], 0.5) == pytest.approx(0.495)
    assert midway_threshold([-2.0, -1.0], -2.0) == pytest.approx(-2.02)
    neighbours = [0.5, float(np.nextafter(0.5, 1))]
    assert midway_threshold(neighbours, neighbours[1]) == neighbours[1]
    assert np.isnan(midway_threshold([0.5], float("nan")))
    assert np.isnan(midway_threshold([], float("nan")))


def test_score_floor():
    assert score_floor(None) == 0.0
    assert score_floor({"score_thr": 0.05}) == 0.05
    assert score_floor({"rpn": {}, "rcnn": {"score_thr": 0.1}}) == 0.1
    assert score_floor({"rcnn": [{"score_thr": 0.3}, {"score_thr": 0.2}]}) == 0.2
    assert score_floor({"score_thr": 0.1, "filter_thr": 0.05}) == 0.05
    assert thresholds_at_floor({"cat": 0.055, "dog": 0.07}, 0.05) == ["cat"]
    assert thresholds_at_floor({"cat": 0.0}, 0.0) == []
