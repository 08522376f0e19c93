"""PAA, FoveaBox and FCOS on the digits: the loss and the auxiliary branch apart, one budget."""

import pytest
import torch

from configs import build_model, load_config, predict, train_step

HEADS = {"paa": "PAAHead", "foveabox": "FoveaHead", "fcos": "FCOSHead"}
BUDGET = (
    *("train_dataloader", "val_dataloader", "val_evaluator", "train_cfg", "param_scheduler"),
    *("optim_wrapper", "auto_scale_lr", "randomness", "default_hooks", "custom_imports"),
)

every_detector = pytest.mark.parametrize("detector", HEADS)


def load(detector, prefix=""):
    return load_config(f"digits/{prefix}{detector}_r18_fpn_digits.py")


@every_detector
def test_budget_is_that_of_atss(detector):
    stock, ranked, atss = load(detector), load(detector, "rs-"), load("atss")
    for config in (stock, ranked):
        assert all(config[key] == atss[key] for key in BUDGET)
        assert config.model.backbone == atss.model.backbone
        assert config.model.bbox_head.num_classes == 10
        assert config.model.test_cfg.score_thr == 0
    for key in ("neck", "data_preprocessor", "test_cfg"):
        assert stock.model[key] == ranked.model[key]
    stock_head, head = dict(stock.model.bbox_head), dict(ranked.model.bbox_head)
    assert (stock_head.pop("type"), head.pop("type")) == (HEADS[detector], "Rank" + HEADS[detector])
    assert head.pop("loss_cls") == dict(type="RankSortLoss")
    assert head.pop("loss_bbox") == dict(type="GIoULoss")
    assert head.pop("loss_centerness", None) is None
    for key in ("loss_cls", "loss_bbox", "loss_centerness", "centerness_on_reg"):
        stock_head.pop(key, None)
    head.pop("centerness_on_reg", None)
    assert head == stock_head


@every_detector
@pytest.mark.parametrize("prefix", ["", "rs-"])
def test_model_trains_and_predicts(detector, prefix):
    torch.manual_seed(0)
    model = build_model(load(detector, prefix))
    losses = train_step(model, num_objects=(2, 1), num_classes=10)
    assert all(torch.isfinite(torch.as_tensor(value)).all() for value in losses.values())
    assert not [name for name, value in model.named_parameters() if value.grad is None]
    branches = [name for name, _ in model.named_parameters() if "centerness" in name]
    assert bool(branches) == (prefix == "" and detector != "foveabox")
    (sample,) = predict(model)
    assert len(sample.pred_instances) > 0
    assert sample.pred_instances.bboxes.isfinite().all()
