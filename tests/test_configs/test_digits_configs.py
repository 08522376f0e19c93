"""The one-stage configs of the digits: one budget for all losses, and models that train."""

from __future__ import annotations

import pytest
import torch

from configs import build_model, config_names, find, load_config, train_step
from mmdet_rank.criteria.balance import EpochBalance
from mmdet_rank.datasets.digits.metainfo import METAINFO

HEADS = {"atss": ("ATSSHead", "RankATSSHead"), "retinanet": ("RetinaHead", "RankRetinaHead")}
LOSSES = {"": "FocalLoss", "rs-": "RankSortLoss", "alrp-": "aLRPLoss", "ap-": "APLoss"}
NAMES = [(prefix, detector) for detector in HEADS for prefix in LOSSES]


def load(prefix, detector):
    return load_config(f"digits/{prefix}{detector}_r18_fpn_digits.py")


@pytest.mark.parametrize(("prefix", "detector"), NAMES)
def test_the_loss_is_that_of_the_name(prefix, detector):
    config = load(prefix, detector)
    head = config.model.bbox_head
    assert head.loss_cls.type == LOSSES[prefix]
    assert head.type == HEADS[detector][bool(prefix)]
    assert head.num_classes == 10
    hooks = [hook.type for hook in config.get("custom_hooks", [])]
    assert hooks == (["SelfBalanceHook"] if prefix == "alrp-" else [])


@pytest.mark.parametrize(("prefix", "detector"), NAMES)
def test_losses_are_compared_at_the_same_budget(prefix, detector):
    config, stock = load(prefix, detector), load("", detector)
    for key in (
        *("train_dataloader", "val_dataloader", "val_evaluator", "train_cfg", "param_scheduler"),
        *("optim_wrapper", "auto_scale_lr", "randomness", "default_hooks", "custom_imports"),
    ):
        assert config[key] == stock[key], key
    for key in ("backbone", "neck", "data_preprocessor", "test_cfg"):
        assert config.model[key] == stock.model[key], key
    assert config.auto_scale_lr.base_batch_size == config.train_dataloader.batch_size == 8
    assert config.optim_wrapper.optimizer == dict(type="AdamW", lr=0.001, weight_decay=0.05)
    assert config.train_cfg.max_epochs == 3
    assert config.val_evaluator.type == "CocoLRPMetric"
    assert config.model.test_cfg.score_thr == 0


@pytest.mark.parametrize("name", [n for n in config_names("digits") if "/rs-" in n])
def test_of_a_ranked_detector_and_the_stock_one_only_the_model_differs(name):
    stock = name.replace("/rs-", "/").replace("_rcnn-sampler", "").replace("_samplers", "")
    config, stock = load_config(name).to_dict(), load_config(stock).to_dict()
    model, stock_model = config.pop("model"), stock.pop("model")
    assert config == stock
    for key in ("type", "backbone", "neck", "data_preprocessor", "test_cfg"):
        assert model[key] == stock_model[key], key


@pytest.mark.parametrize("detector", HEADS)
def test_training_starts_from_random_weights_and_mirrors_nothing(detector):
    config = load("", detector)
    assert config.model.backbone.depth == 18
    assert config.model.backbone.init_cfg is None
    assert config.model.backbone.frozen_stages == -1
    assert not config.model.backbone.norm_eval
    types = find(config.train_dataloader.dataset.pipeline, "type")
    assert "RandomFlip" not in types


def test_classes_and_colours_are_those_of_the_data_set():
    config = load("rs-", "atss")
    for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
        assert tuple(loader.dataset.metainfo.classes) == METAINFO["classes"]
        assert tuple(map(tuple, loader.dataset.metainfo.palette)) == METAINFO["palette"]


@pytest.mark.parametrize(("prefix", "detector"), NAMES)
def test_a_training_step_reaches_every_parameter(prefix, detector):
    model = build_model(load(prefix, detector))
    for module in model.modules():
        if isinstance(module, EpochBalance):
            module.period = 250
    losses = train_step(model, num_objects=(2, 1), num_classes=10)
    assert all(
        torch.isfinite(torch.as_tensor(value)).all()
        for loss in losses.values()
        for value in (loss if isinstance(loss, list) else [loss])
    )
    assert not [name for name, value in model.named_parameters() if value.grad is None]
