"""Thresholds hold while a test runs, and no longer."""

import json
from types import SimpleNamespace

import pytest
import torch
from mmdet.models import DetTTAModel
from mmdet.structures import DetDataSample
from mmengine.model import MMDistributedDataParallel
from mmengine.structures import InstanceData

from mmdet_rank.engine import LRPThresholdHook
from mmdet_rank.engine.lrp_threshold_hook import label_names


class Detector(torch.nn.Module):
    """Predicts the same three objects in each of two images."""

    def __init__(self):
        super().__init__()
        self.test_cfg = dict(score_thr=0.05)

    def forward(self):
        samples = [DetDataSample(), DetDataSample()]
        for sample in samples:
            sample.pred_instances = InstanceData(
                bboxes=torch.zeros(3, 4),
                scores=torch.tensor([0.9, 0.6, 0.3]),
                labels=torch.tensor([0, 1, 1]),
            )
        return samples


def test_thresholds_hold_from_before_test_to_after(tmp_path):
    path = tmp_path / "thresholds.json"
    path.write_text(json.dumps({"dog": 0.5, "cat": 0.95}))
    model = Detector()
    dataset = SimpleNamespace(metainfo={"classes": ("cat", "dog")})
    runner = SimpleNamespace(model=model, test_dataloader=SimpleNamespace(dataset=dataset))
    hook = LRPThresholdHook(str(path))
    hook.after_test(runner)  # of a test that did not begin
    for _ in range(2):
        hook.before_test(runner)
        assert [sample.pred_instances.scores.tolist() for sample in model()] == [
            pytest.approx([0.6])
        ] * 2
        hook.after_test(runner)
        assert [len(sample.pred_instances) for sample in model()] == [3, 3]


@pytest.mark.parametrize("wrapped", [False, True], ids=["alone", "distributed"])
def test_merged_predictions_are_refused(wrapped, tmp_path):
    """They come from no forward, so that all would pass a threshold."""
    path = tmp_path / "thresholds.json"
    path.write_text(json.dumps({"dog": 0.5}))
    detector = Detector()
    detector.test_step = lambda data: detector()
    model = DetTTAModel(module=detector)
    if wrapped:
        # Without the processes that it would wait for.
        wrapper = MMDistributedDataParallel.__new__(MMDistributedDataParallel)
        torch.nn.Module.__init__(wrapper)
        wrapper.module, model = model, wrapper
    dataset = SimpleNamespace(metainfo={"classes": ("cat", "dog")})
    runner = SimpleNamespace(model=model, test_dataloader=SimpleNamespace(dataset=dataset))
    hook = LRPThresholdHook(str(path))
    with pytest.raises(ValueError, match=r"but got DetTTAModel, .* without --tta, or remove"):
        hook.before_test(runner)
    hook.after_test(runner)
    assert [len(sample.pred_instances) for sample in detector()] == [3, 3]


def test_names_are_those_of_the_file_in_the_order_of_the_labels(tmp_path):
    path = tmp_path / "instances.json"
    names = [{"id": 7, "name": "cat"}, {"id": 2, "name": "dog"}]
    path.write_text(json.dumps({"categories": names}))
    coco = SimpleNamespace(metainfo={"classes": ("cat", "dog")}, cat_ids=[2, 7], ann_file=str(path))
    wrapped = SimpleNamespace(dataset=SimpleNamespace(dataset=coco))
    assert label_names(wrapped) == ["dog", "cat"]


def test_names_that_are_numbers_are_texts(tmp_path):
    """As in thresholds files, whose keys can be nothing else."""
    path, thresholds = tmp_path / "instances.json", tmp_path / "thresholds.json"
    path.write_text(json.dumps({"categories": [{"id": 1, "name": 0}, {"id": 2, "name": 1}]}))
    thresholds.write_text(json.dumps({"1": 0.4, "0": 0.5}))
    coco = SimpleNamespace(metainfo={"classes": ("0", "1")}, cat_ids=[1, 2], ann_file=str(path))
    assert LRPThresholdHook(str(thresholds)).check(coco).by_label == [0.5, 0.4]
