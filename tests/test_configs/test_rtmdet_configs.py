"""The configs of RTMDet by RS Loss: MMDetection's own but for the loss and its head."""

import pytest
import torch
from mmengine.config import Config

from configs import build_model, load_config, predict, train_step

SIZES = {"tiny": 96, "s": 128, "m": 192, "l": 256, "x": 320}
CHANGED = ["model", "val_evaluator", "test_evaluator", "custom_imports", "auto_scale_lr"]
NAME = "rank_sort/rs-rtmdet_{}_8xb32-300e_coco.py"


@pytest.mark.parametrize("size", SIZES)
def test_only_the_loss_is_new(size, tmp_path):
    path = tmp_path / "stock.py"
    path.write_text(f"_base_ = 'mmdet::rtmdet/rtmdet_{size}_8xb32-300e_coco.py'\n")
    config, stock = load_config(NAME.format(size)), Config.fromfile(path)
    head, stock_head = dict(config.model.bbox_head), dict(stock.model.bbox_head)
    assert (head.pop("type"), stock_head.pop("type")) == ("RankRTMDetHead", "RTMDetSepBNHead")
    assert head.pop("loss_cls") == dict(type="RankSortLoss", delta=0.5)
    assert stock_head.pop("loss_cls")["type"] == "QualityFocalLoss"
    assert head == stock_head
    assert head["in_channels"] == SIZES[size]
    for key in set(stock) - {*CHANGED}:
        assert config[key] == stock[key], key
    for key in set(stock.model) - {"bbox_head"}:
        assert config.model[key] == stock.model[key], key
    for evaluator in (config.val_evaluator, config.test_evaluator):
        assert evaluator == stock.val_evaluator | dict(type="CocoLRPMetric")
    # MMDetection's has 16, the batch of its schedule of one epoch.
    assert config.train_dataloader.batch_size * 8 == config.auto_scale_lr.base_batch_size == 256
    assert config.train_cfg.max_epochs == 300


@pytest.mark.parametrize("size", ["tiny", "m"])
def test_model_trains_and_predicts(size):
    config = load_config(NAME.format(size)).copy()
    config.model.test_cfg.score_thr = 0.0
    torch.manual_seed(0)
    model = build_model(config)
    keys = set()
    for num_objects in [(2, 0), (0, 0)]:
        model.zero_grad()
        losses = train_step(model, num_objects, num_classes=80, size=96)
        keys.add(frozenset(losses))
        assert (losses["num_pos"] > 0) == (sum(num_objects) > 0)
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert len(keys) == 1
    (sample,) = predict(model, size=96)
    # The small ones predict distances as they are, and random ones may be of no box.
    assert config.model.bbox_head.exp_on_reg == (size == "m")
    assert (size == "m") <= len(sample.pred_instances) <= 300
    assert sample.pred_instances.bboxes.isfinite().all()
