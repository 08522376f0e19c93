"""The configs of the transformer detectors: MMDetection's own but for the loss."""

import pytest
import torch
from mmengine.config import Config

from configs import build_model, find, load_config, predict, train_step
from mmdet_rank import compat

# Config: MMDetection's own, learning rate, total batch, (epochs, milestones), size to test at.
SETTINGS = {
    "rank_sort/rs-deformable-detr_r50_16xb2-50e_coco.py": (
        "deformable_detr/deformable-detr_r50_16xb2-50e_coco.py", 2e-4, 32, (50, [40]), 96,
    ),
    "rank_sort/rs-dino-4scale_r50_8xb2-12e_coco.py": (
        "dino/dino-4scale_r50_8xb2-12e_coco.py", 1e-4, 16, (12, [11]), 224,
    ),
}  # fmt: skip
# Detector and its config for COCO.
DIGITS = {
    "deformable-detr": "rank_sort/rs-deformable-detr_r50_16xb2-50e_coco.py",
    "dino": "rank_sort/rs-dino-4scale_r50_8xb2-12e_coco.py",
}
every_config = pytest.mark.parametrize("name", SETTINGS)


@pytest.fixture(scope="module")
def stock_configs(tmp_path_factory):
    """MMDetection's own configs, read as a base of one's own."""
    folder = tmp_path_factory.mktemp("stock")
    configs = {}
    for name, (base, *_) in SETTINGS.items():
        path = folder / base.rpartition("/")[2]
        path.write_text(f"_base_ = 'mmdet::{base}'\n")
        configs[name] = Config.fromfile(path)
    return configs


@every_config
def test_only_the_loss_is_new(name, stock_configs):
    config, stock = load_config(name), stock_configs[name]
    head, stock_head = dict(config.model.bbox_head), dict(stock.model.bbox_head)
    assert head.pop("type") == "Rank" + stock_head.pop("type")
    assert head.pop("loss_cls") == dict(type="RankSortLoss", delta=0.5)
    del stock_head["loss_cls"]
    assert head == stock_head
    for key in set(stock.model) - {"bbox_head"}:
        assert config.model[key] == stock.model[key], key
    for key in ("train_dataloader", "optim_wrapper", "param_scheduler", "train_cfg"):
        assert config[key] == stock[key], key
    for evaluator in (config.val_evaluator, config.test_evaluator):
        assert evaluator == stock.val_evaluator | dict(type="CocoLRPMetric")


@every_config
def test_settings(name):
    _, lr, batch, (epochs, milestones), _ = SETTINGS[name]
    config = load_config(name)
    assert config.optim_wrapper.optimizer == dict(type="AdamW", lr=lr, weight_decay=1e-4)
    assert config.train_cfg.max_epochs == epochs
    assert config.param_scheduler[-1].milestones == milestones
    assert config.auto_scale_lr.base_batch_size == batch
    gpus, per_gpu = name.split("_")[-2].split("-")[0].split("xb")
    assert int(gpus) * int(per_gpu) == batch
    assert config.train_dataloader.batch_size == int(per_gpu)
    assert config.model.train_cfg.assigner.type == "HungarianAssigner"
    assert find(config.model, "sampler") == []


@every_config
def test_model_trains_and_predicts(name):
    size = SETTINGS[name][-1]
    torch.manual_seed(0)
    model = build_model(load_config(name))
    keys = set()
    for num_objects in [(1, 0), (0, 0)]:
        model.zero_grad()
        losses = train_step(model, num_objects, num_classes=80, size=size)
        keys.add(frozenset(losses))
        assert losses["num_pos"] == sum(num_objects)
        trained = [p for p in model.parameters() if p.requires_grad]
        assert all(p.grad is not None and p.grad.isfinite().all() for p in trained)
    assert len(keys) == 1
    (sample,) = predict(model, size=size)
    assert len(sample.pred_instances) > 0
    assert sample.pred_instances.bboxes.isfinite().all()


@pytest.mark.parametrize("detector", DIGITS)
def test_digits(detector):
    stock, ranked = (load_config(f"digits/{p}{detector}_r18_digits.py") for p in ("", "rs-"))
    full = load_config(DIGITS[detector])
    head, stock_head = dict(ranked.model.bbox_head), dict(stock.model.bbox_head)
    assert head.pop("type") == "Rank" + stock_head.pop("type") == full.model.bbox_head.type
    assert head.pop("loss_cls") == dict(type="RankSortLoss")
    assert stock_head.pop("loss_cls").type == "FocalLoss"
    assert head == stock_head
    for key in set(stock.model) - {"bbox_head"}:
        assert ranked.model[key] == stock.model[key], key
    # Matching and the weights of the box losses are those of the config for COCO.
    assert ranked.model.train_cfg == full.model.train_cfg
    for key in ("loss_bbox", "loss_iou"):
        assert head[key] == full.model.bbox_head[key]
    assert head["num_classes"] == 10


@pytest.mark.parametrize("prefix", ["", "rs-"])
@pytest.mark.parametrize("detector", DIGITS)
def test_digits_model_trains_and_predicts(detector, prefix):
    if detector == "dino" and compat.find(compat.MMDET)[0].version == "3.3.0":
        pytest.skip("MMDetection 3.3.0 encodes places in 256 channels, whatever the config says")
    torch.manual_seed(0)
    model = build_model(load_config(f"digits/{prefix}{detector}_r18_digits.py"))
    losses = train_step(model, (2, 1), num_classes=10, size=192)
    assert all(torch.as_tensor(value).isfinite().all() for value in losses.values())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    (sample,) = predict(model, size=192)
    assert len(sample.pred_instances) > 0
    assert sample.pred_instances.bboxes.isfinite().all()
