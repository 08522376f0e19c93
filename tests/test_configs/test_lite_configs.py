"""Configs of small data: one budget for all losses, and models that train."""

import pytest
import torch
from mmdet.registry import MODELS

from configs import build_model, config_names, load_config, train_step
from mmdet_rank.criteria.balance import EpochBalance

NAMES = config_names("lite")
STOCK = [name for name in NAMES if not name.startswith(("lite/rs-", "lite/alrp-", "lite/ap-"))]
CLASSES = {"bccd": 3, "tiles": 5}
ITERATIONS = {"bccd": 600, "tiles": 1500}


def data_of(name):
    return name.removesuffix(".py").rpartition("_")[2]


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(STOCK)))
def test_of_a_ranked_detector_and_the_stock_one_only_the_model_differs(name):
    stock = f"lite/{name.removeprefix('lite/').partition('-')[2]}"
    config, stock = load_config(name).to_dict(), load_config(stock).to_dict()
    model, stock_model = config.pop("model"), stock.pop("model")
    assert config.pop("custom_hooks", []) == [dict(type="SelfBalanceHook")] * ("alrp-" in name)
    assert config == stock
    for key in ("type", "backbone", "neck", "data_preprocessor", "test_cfg"):
        assert model[key] == stock_model[key], key


def test_the_budget_is_that_of_the_readme():
    for name in STOCK:
        config = load_config(name)
        assert config.optim_wrapper.optimizer == dict(type="AdamW", lr=0.001, weight_decay=0.05)
        budget = ITERATIONS[data_of(name)]
        assert config.train_cfg.max_iters == config.param_scheduler[-1].end == budget
        assert config.train_cfg.val_interval == budget / 4
        rise, cosine = config.param_scheduler
        assert rise.end == cosine.begin == budget - cosine.T_max == 50
        assert config.model.backbone.frozen_stages == 1
        assert config.test_evaluator.ann_file.endswith("/annotations/test.json")


@pytest.mark.parametrize("name", [name for name in NAMES if "_tiles" in name])
def test_a_training_step_reaches_every_parameter(name):
    pytest.importorskip("timm")
    model = build_model(load_config(name))
    for module in model.modules():
        if isinstance(module, EpochBalance):
            module.period = 25
    losses = train_step(model, num_objects=(2, 1), num_classes=5, masks="mask-" in name)
    total = sum(sum(v) if isinstance(v, list) else v for v in losses.values())
    assert torch.isfinite(torch.as_tensor(total)).all()
    missed = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert missed == []


@pytest.mark.parametrize("name", NAMES)
def test_classes_of_data_and_heads_agree(name):
    config = load_config(name)
    number = CLASSES[data_of(name)]
    assert len(config.train_dataloader.dataset.metainfo.classes) == number
    model = config.model
    heads = [model[k] for k in ("bbox_head",) if k in model]
    roi = model.get("roi_head", {})
    heads += [roi[k] for k in ("bbox_head", "mask_head") if k in roi]
    assert heads
    assert {head.num_classes for head in heads} == {number}


@pytest.mark.parametrize("number", [1, 5])
def test_masks_begin_where_dice_loss_has_a_gradient(number):
    """Features of this backbone's FPN have a standard deviation of 8."""
    head = load_config("lite/rs-mask-rcnn_lite0_fpn_tiles.py").model.roi_head.mask_head
    features = 8 * torch.randn(6, 64, 14, 14, generator=torch.Generator().manual_seed(0))
    spreads = []
    for std in (head.logits_std, None):
        torch.manual_seed(0)
        built = MODELS.build(head | dict(num_classes=number, logits_std=std))
        built.init_weights()
        logits = built(features)
        spreads.append(logits.std().item())
    assert spreads[0] < 1
    # Of MMDetection's own, where nearly every probability is 0 or 1.
    assert spreads[1] > 10
