"""The configs of REG: what each choice is, and their models at work."""

import pytest
import torch
from mmengine.structures import PixelData
from synthetic import make_batch
from yolov8 import SIZES

from configs import build_model, load_config, train_step

ROAD = "reg/{}yolov8{}_{}_1xb16-100e_road-{}.py"
BCCD = "reg/reg-{}yolov8_n_1xb16-1500i_bccd.py"
ASSETS = (
    "Pavilion", "Pedestrian Bridge", "Information Sign", "Single-Arm Pole", "Bus Stop",
    "Warning Sign", "Concrete Guardrail",
)  # fmt: skip
BOTH = dict(type="REGLoss", use_sigmoid=True, class_counts="auto", per_class=True, alpha_on="both")
NEAR = dict(type="REGLoss", use_sigmoid=True, beta=0.05, delta=32.0, near=True)
CHOICES = {
    "both-": BOTH,
    "positives-": BOTH | dict(alpha_on="positives"),
    "near-": NEAR,
    "far-": NEAR | dict(near=False),
    "": NEAR | dict(class_counts="auto", per_class=True, alpha_on="positives"),
}


@pytest.mark.parametrize(("size", "kind"), [("x", "detection"), ("s", "instance")])
def test_road_assets(size, kind):
    seg = "-seg" if kind == "instance" else ""
    stock, reg = (load_config(ROAD.format(prefix, seg, size, kind)) for prefix in ("", "reg-"))
    classes = ASSETS if not seg else (*ASSETS[:3], *ASSETS[5:])
    for config in (stock, reg):
        model = config.model
        assert model.bbox_head.num_classes == len(classes) == (5 if seg else 7)
        parts = [model.backbone, model.neck, model.bbox_head] + ([model.mask_head] if seg else [])
        assert all(part.act_cfg.type == "LeakyReLU" for part in parts)
        depth, width, _, channels, _ = SIZES[size]
        assert (model.backbone.deepen_factor, model.backbone.widen_factor) == (depth, width)
        assert model.neck.in_channels == model.bbox_head.in_channels == channels
        loaders = (config.train_dataloader, config.val_dataloader, config.test_dataloader)
        for loader, split in zip(loaders, ("train", "val", "test"), strict=True):
            dataset = loader.dataset.get("dataset") or loader.dataset
            assert dataset.metainfo.classes == classes
            assert dataset.data_root == "data/road/"
            assert dataset.ann_file == f"annotations/{split}.json"
            assert dataset.data_prefix == dict(img="")
        assert config.val_evaluator.ann_file == "data/road/annotations/val.json"
        assert config.test_evaluator.ann_file == "data/road/annotations/test.json"
        assert config.optim_wrapper.optimizer.type == "AdamW"
        assert config.train_cfg.max_epochs == 100
        (switch,) = [hook for hook in config.custom_hooks if "Switch" in hook.type]
        assert switch.get("switch_epoch", 90) == 90
        assert switch.get("num_last_epochs", 9) == 9
    assert stock.model.bbox_head.loss_cls.type == "CrossEntropyLoss"
    assert reg.model.bbox_head.type == "WithClassDistances"
    assert reg.model.bbox_head.head == stock.model.bbox_head.type
    assert reg.model.bbox_head.loss_cls == CHOICES[""] | dict(delta=64.0)
    assert reg.default_hooks.class_counts == dict(type="ClassCountsHook")


@pytest.mark.parametrize("choice", CHOICES)
def test_blood_cells_choice_by_choice(choice):
    config = load_config(BCCD.format(choice))
    head = config.model.bbox_head
    assert head.num_classes == 3
    assert head.loss_cls == CHOICES[choice]
    assert (head.type == "WithClassDistances") == ("beta" in head.loss_cls)
    hooks = [hook.type for hook in config.get("custom_hooks", [])]
    assert hooks == (["ClassCountsHook"] if "class_counts" in head.loss_cls else [])
    assert (config.train_cfg.max_iters, config.train_dataloader.batch_size) == (1500, 16)


@pytest.mark.parametrize("detector", ["atss", "retinanet"])
def test_pretrained_backbone(detector):
    pytest.importorskip("timm")
    config = load_config(f"reg/reg-{detector}_lite0_fpn_bccd.py")
    stock = load_config(f"lite/{detector}_lite0_fpn_bccd.py")
    head, stock_head = config.model.pop("bbox_head"), stock.model.pop("bbox_head")
    assert (head.pop("type"), head.pop("head")) == ("WithClassDistances", stock_head.pop("type"))
    loss = head.pop("loss_cls")
    assert loss == CHOICES[""] | dict(loss_weight=0.5)
    assert stock_head.pop("loss_cls").type == "FocalLoss"
    assert head == stock_head
    assert config.pop("custom_hooks") == [dict(type="ClassCountsHook")]
    assert config.to_dict() == stock.to_dict()
    # And the model that they make, with the counts of the training set.
    config = load_config(f"reg/reg-{detector}_lite0_fpn_bccd.py")
    config.model.bbox_head.loss_cls.class_counts = [209, 2381, 214]
    torch.manual_seed(0)
    model = build_model(config)
    losses = train_step(model, (2, 1), 3)
    assert sum(losses["loss_cls"]) > 0
    trained = [p for p in model.parameters() if p.requires_grad]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in trained)


@pytest.mark.parametrize(("seg", "kind"), [("", "detection"), ("-seg", "instance")])
def test_model_trains(seg, kind):
    config = load_config(ROAD.format("reg-", seg, "n", kind))
    num_classes = config.model.bbox_head.num_classes
    config.model.bbox_head.loss_cls.class_counts = list(range(1, num_classes + 1))
    torch.manual_seed(0)
    model = build_model(config)
    losses = train_step(model, (2, 0), num_classes, size=64, masks=bool(seg))
    assert losses["loss_cls"] > 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_detection_and_segmentation_together():
    # lambda is the weight of the segmentation's loss, and both losses are REG's.
    config = load_config("reg/reg-panoptic-fpn_r50_fpn_8xb2-1x_coco.py")
    loss_seg = config.model.semantic_head.loss_seg
    assert loss_seg == dict(type="REGLoss", use_sigmoid=False, loss_weight=0.5)
    assert config.model.roi_head.bbox_head.loss_cls == dict(type="REGLoss", use_sigmoid=True)
    config.model.backbone.update(depth=18, base_channels=8)
    config.model.neck.in_channels = [8, 16, 32, 64]
    config.model.roi_head.bbox_head.fc_out_channels = 32
    torch.manual_seed(0)
    model = build_model(config).train()
    assert model.roi_head.bbox_head.fc_cls.out_features == 80
    images, samples = make_batch((2, 1), 80, masks=True)
    for sample in samples:
        sample.gt_sem_seg = PixelData(sem_seg=torch.randint(133, (1, 64, 64)).byte())
    values = []
    for weight in (0.5, 1.0):
        model.semantic_head.loss_seg.loss_weight = weight
        values.append(model.loss(images, samples))
    torch.testing.assert_close(values[1]["loss_seg"], 2 * values[0]["loss_seg"])
    model.parse_losses(values[1])[0].backward()
    assert model.semantic_head.conv_logits.weight.grad.abs().sum() > 0
    assert model.roi_head.bbox_head.fc_cls.weight.grad.abs().sum() > 0
    assert model.neck.lateral_convs[0].conv.weight.grad.abs().sum() > 0
