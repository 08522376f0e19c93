"""The configs of the one-stage detectors: their settings, literally, and their models at work."""

import functools

import cv2
import numpy as np
import pytest
import torch
from mmdet.utils import register_all_modules
from mmengine.dataset import Compose

import configs
from configs import build_model, find, predict, train_step
from mmdet_rank.criteria.balance import EpochBalance

ATSS = dict(type="ATSSAssigner", topk=9)
IOU = dict(
    type="MaxIoUAssigner", pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0, ignore_iof_thr=-1
)
STRIDES = [8, 16, 32, 64, 128]
ONE_RATIO = dict(type="AnchorGenerator", octave_base_scale=4, ratios=[1.0], strides=STRIDES)
THREE_RATIOS = ONE_RATIO | dict(ratios=[0.5, 1.0, 2.0])
SHORT, LONG, LATE = (12, [8, 11]), (100, [60, 80]), (100, [75, 95])
SIZE_500, SIZE_800 = [(512, 512), (833, 500)], [(800, 800), (1333, 800)]
FULL_SIZE = [(1333, 800), (1333, 800)]

# Each loss with the box loss beside it.
RS = (dict(type="RankSortLoss", delta=0.5), dict(type="GIoULoss", loss_weight=1.0))
ALRP = (dict(type="aLRPLoss", delta=1.0), dict(type="GIoULoss", loss_weight=1.0))
AP = (
    dict(type="APLoss", delta=1.0, interpolated=True),
    dict(type="SmoothL1Loss", beta=1.0, loss_weight=1.0),
)
AP_FOVEA = (AP[0], AP[1] | dict(beta=0.11))
GIOU_2 = dict(type="GIoULoss", loss_weight=2.0)
GIOU_PAA = dict(type="GIoULoss", loss_weight=1.3)
PAA = IOU | dict(pos_iou_thr=0.1, neg_iou_thr=0.1)


def settings(lr, batch, schedule, assigner, anchors, per_octave, losses, sizes, nms):
    return dict(
        lr=lr, batch=batch, schedule=schedule, assigner=assigner, losses=losses, sizes=sizes,
        anchors=anchors and anchors | dict(scales_per_octave=per_octave), nms=nms,
    )  # fmt: skip


ALRP_500_ATSS = settings(0.008, 32, LATE, ATSS, ONE_RATIO, 2, ALRP, SIZE_500, 0.5)
ALRP_500_IOU = settings(0.008, 32, LONG, IOU, THREE_RATIOS, 2, ALRP, SIZE_500, 0.5)
ALRP_800_ATSS = settings(0.004, 16, LONG, ATSS, ONE_RATIO, 3, ALRP, SIZE_800, 0.5)
SETTINGS = {
    "rank_sort/rs-atss_r50_fpn_4xb4-1x_coco.py": settings(
        0.008, 16, SHORT, ATSS, ONE_RATIO, 3, RS, FULL_SIZE, 0.6
    ),
    "rank_sort/rs-paa_r50_fpn_4xb4-1x_coco.py": settings(
        0.008, 16, SHORT, PAA, ONE_RATIO, 3, RS, FULL_SIZE, 0.6
    ),
    "rank_sort/rs-fcos_r50-caffe_fpn_gn-head-center-normbbox_4xb4-1x_coco.py": settings(
        0.008, 16, SHORT, None, None, None, RS, FULL_SIZE, 0.6
    ),
    "rank_sort/rs-retinanet_r50_fpn_4xb4-1x_coco.py": settings(
        0.008, 16, SHORT, IOU, THREE_RATIOS, 3, RS, FULL_SIZE, 0.5
    ),
    "rank_sort/rs-foveabox_r50_fpn_4xb4-1x_coco.py": settings(
        0.008, 16, SHORT, None, None, None, RS, FULL_SIZE, 0.5
    ),
    "alrp/alrp-atss_r50_fpn_4xb4-1x_coco.py": settings(
        0.005, 16, SHORT, ATSS, ONE_RATIO, 3, ALRP, FULL_SIZE, 0.6
    ),
    "alrp/alrp-paa_r50_fpn_4xb4-1x_coco.py": settings(
        0.005, 16, SHORT, PAA, ONE_RATIO, 3, ALRP, FULL_SIZE, 0.6
    ),
    "ap_loss/ap-atss_r50_fpn_4xb4-1x_coco.py": settings(
        0.008, 16, SHORT, ATSS, ONE_RATIO, 3, (AP[0], GIOU_2), FULL_SIZE, 0.6
    ),
    "ap_loss/ap-paa_r50_fpn_4xb4-1x_coco.py": settings(
        0.008, 16, SHORT, PAA, ONE_RATIO, 3, (AP[0], GIOU_PAA), FULL_SIZE, 0.6
    ),
    "alrp/alrp-foveabox_r50_fpn_4xb8-ssd-500-100e_coco.py": settings(
        0.008, 32, LATE, None, None, None, ALRP, SIZE_500, 0.5
    ),
    "ap_loss/ap-foveabox_r50_fpn_4xb8-ssd-500-100e_coco.py": settings(
        0.002, 32, LATE, None, None, None, AP_FOVEA, SIZE_500, 0.5
    ),
    "alrp/alrp-retinanet_r50_fpn_atss-assign_4xb8-ssd-500-100e_coco.py": ALRP_500_ATSS,
    "alrp/alrp-retinanet_r50_fpn_atss-assign_4xb8-ssd-500-step-60-80-100e_coco.py": ALRP_500_ATSS
    | dict(schedule=LONG),
    "alrp/alrp-retinanet_r101_fpn_atss-assign_4xb8-ssd-500-100e_coco.py": ALRP_500_ATSS,
    "alrp/alrp-retinanet_x101-64x4d_fpn_atss-assign_4xb8-ssd-500-100e_coco.py": ALRP_500_ATSS,
    "alrp/alrp-retinanet_r50_fpn_iou-assign_4xb8-ssd-500-100e_coco.py": ALRP_500_IOU,
    "alrp/alrp-retinanet_r101_fpn_iou-assign_4xb8-ssd-500-100e_coco.py": ALRP_500_IOU,
    "alrp/alrp-retinanet_x101-64x4d_fpn_iou-assign_4xb8-ssd-500-100e_coco.py": ALRP_500_IOU,
    "alrp/alrp-retinanet_r101_fpn_atss-assign_4xb4-ssd-800-100e_coco.py": ALRP_800_ATSS,
    "alrp/alrp-retinanet_x101-64x4d_fpn_atss-assign_4xb4-ssd-800-100e_coco.py": ALRP_800_ATSS,
    "alrp/alrp-retinanet_x101-64x4d-dcn_fpn_atss-assign_4xb4-ssd-800-100e_coco.py": ALRP_800_ATSS,
    "ap_loss/ap-retinanet_r50_fpn_4xb8-ssd-500-100e_coco.py": settings(
        0.002, 32, LONG, IOU, THREE_RATIOS, 2, AP, SIZE_500, 0.5
    ),
}

# The part of a name after the first "_", and what it says of the backbone.
BACKBONES = {
    "r50": dict(type="ResNet", depth=50, checkpoint="torchvision://resnet50"),
    "r50-caffe": dict(
        type="ResNet", depth=50, checkpoint="open-mmlab://detectron2/resnet50_caffe"
    ),
    "r101": dict(type="ResNet", depth=101, checkpoint="torchvision://resnet101"),
    "x101-64x4d": dict(
        type="ResNeXt", depth=101, groups=64, base_width=4,
        checkpoint="open-mmlab://resnext101_64x4d",
    ),
    "x101-64x4d-dcn": dict(
        type="ResNeXt", depth=101, groups=64, base_width=4,
        checkpoint="open-mmlab://resnext101_64x4d", stage_with_dcn=(False, True, True, True),
        dcn=dict(type="DCNv2", deform_groups=1, fallback_on_stride=False),
    ),
}  # fmt: skip

# Big backbones are built once: without these, every backbone and every head is built still.
NOT_BUILT = {
    "alrp/alrp-retinanet_r101_fpn_iou-assign_4xb8-ssd-500-100e_coco.py",
    "alrp/alrp-retinanet_x101-64x4d_fpn_iou-assign_4xb8-ssd-500-100e_coco.py",
    "alrp/alrp-retinanet_x101-64x4d_fpn_atss-assign_4xb4-ssd-800-100e_coco.py",
}
BUILT = [name for name in SETTINGS if name not in NOT_BUILT]

every_config = pytest.mark.parametrize("name", SETTINGS)
load_config = functools.cache(configs.load_config)


@every_config
def test_schedule_and_batch(name):
    expected, config = SETTINGS[name], load_config(name)
    optimizer = dict(type="SGD", lr=expected["lr"], momentum=0.9, weight_decay=0.0001)
    assert config.optim_wrapper.optimizer == optimizer
    gpus, per_gpu = name.split("_4xb")[1][0], config.train_dataloader.batch_size
    assert gpus == str(per_gpu)
    assert 4 * per_gpu == expected["batch"] == config.auto_scale_lr.base_batch_size
    warm_up, steps = config.param_scheduler
    assert (warm_up.type, warm_up.start_factor, warm_up.end) == ("LinearLR", 0.001, 500)
    assert not warm_up.by_epoch
    assert steps.by_epoch
    assert (config.train_cfg.max_epochs, steps.milestones) == expected["schedule"]
    assert (steps.end, steps.gamma) == (config.train_cfg.max_epochs, 0.1)


@every_config
def test_model_settings(name):
    expected, model = SETTINGS[name], load_config(name).model
    head = model.bbox_head
    assert head.get("anchor_generator") == expected["anchors"]
    assert (model.get("train_cfg") or {}).get("assigner") == expected["assigner"]
    assert find(model, "sampler") in ([], [None])
    assert (head.loss_cls, head.loss_bbox) == expected["losses"]
    assert head.num_classes == 80
    # AP Loss replaces the classification loss alone: boxes are weighed as in the stock head.
    stock = {"ap-atss": "centerness", "ap-paa": "iou"}.get(name.split("/")[1].split("_")[0])
    assert (head.get("criterion") or {}).get("instance_weight") == stock
    if expected["anchors"]:
        assert head.bbox_coder.target_stds == [0.1, 0.1, 0.2, 0.2]
    assert head.get("loss_centerness") is None
    if expected["assigner"] == PAA:
        # What candidates are scored by is PAA's own.
        focal = dict(type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.25)
        assert head.get("score_cls") == focal
        assert head.get("score_bbox") == GIOU_PAA
        assert (head.score_voting, head.topk, head.reg_decoded_bbox) == (True, 9, True)
    test = model.test_cfg
    assert (test.score_thr, test.nms_pre, test.max_per_img) == (0.05, 1000, 100)
    assert test.nms == dict(type="nms", iou_threshold=expected["nms"])


@every_config
def test_backbone(name):
    backbone = load_config(name).model.backbone
    expected = dict(BACKBONES[name.rpartition("/")[2].split("_")[1]])
    assert backbone.init_cfg.checkpoint == expected.pop("checkpoint")
    assert {key: backbone[key] for key in expected} == expected
    assert bool(backbone.get("dcn")) == ("dcn" in expected)


@every_config
def test_data_and_evaluation(name):
    expected, config = SETTINGS[name], load_config(name)
    train, test = config.train_dataloader.dataset.pipeline, config.test_dataloader.dataset.pipeline
    resizes = [step for step in (*train, *test) if step.type == "Resize"]
    assert [step.scale for step in resizes] == expected["sizes"]
    augmented = "ssd" in name
    assert resizes[0].keep_ratio != augmented
    assert resizes[1].keep_ratio
    names = [step.type for step in train]
    if augmented:
        assert names[2:5] == ["PhotoMetricDistortion", "Expand", "MinIoURandomCrop"]
        photo, expand, crop = train[2:5]
        assert (photo.brightness_delta, photo.hue_delta) == (32, 18)
        assert photo.contrast_range == photo.saturation_range == (0.5, 1.5)
        assert expand.ratio_range == (1, 4)
        assert (crop.min_ious, crop.min_crop_size) == ((0.1, 0.3, 0.5, 0.7, 0.9), 0.3)
    assert train[names.index("RandomFlip")].prob == 0.5
    for evaluator in (config.val_evaluator, config.test_evaluator):
        assert (evaluator.type, evaluator.metric) == ("CocoLRPMetric", "bbox")
        assert evaluator.ann_file == "data/coco/annotations/instances_val2017.json"
    assert config.custom_imports == dict(
        imports=["mmdet_rank.register"], allow_failed_imports=False
    )
    hooks = [hook.type for hook in config.get("custom_hooks", [])]
    assert hooks == (["SelfBalanceHook"] if name.startswith("alrp") else [])


def test_every_backbone_and_head_is_built():
    every, built = (
        [load_config(name).model for name in names] for names in (list(SETTINGS), BUILT)
    )
    for part in ("backbone", "neck", "bbox_head", "train_cfg", "test_cfg"):
        seen = [model.get(part) for model in built]
        assert all(model.get(part) in seen for model in every)


@pytest.mark.parametrize("name", BUILT)
def test_model_trains_and_predicts(name):
    config = load_config(name)
    config.model.test_cfg.score_thr = 0.0  # Random weights score low.
    torch.manual_seed(0)
    model = build_model(config)
    for module in model.modules():
        if isinstance(module, EpochBalance):
            module.period = 100
    assert not [key for key, _ in model.named_parameters() if "centerness" in key]
    parameters = [p for p in model.parameters() if p.requires_grad]
    keys = set()
    for num_objects in [(2, 0), (0, 0)]:
        model.zero_grad()
        losses = train_step(model, num_objects, num_classes=80, size=96)
        keys.add(frozenset(losses))
        assert (losses["num_pos"] > 0) == (sum(num_objects) > 0)
        assert all(p.grad is not None and p.grad.isfinite().all() for p in parameters)
    assert len(keys) == 1
    (sample,) = predict(model, size=96)
    assert len(sample.pred_instances) > 0
    assert sample.pred_instances.bboxes.isfinite().all()


@pytest.mark.parametrize("size", [512, 800])
def test_augmented_images_have_one_size(size, tmp_path):
    (name, *_) = [name for name in SETTINGS if SETTINGS[name]["sizes"][0] == (size, size)]
    register_all_modules()
    np.random.seed(0)  # noqa: NPY002 (what transforms draw from)
    picture = np.random.randint(0, 255, (60, 90, 3), dtype=np.uint8)  # noqa: NPY002
    cv2.imwrite(str(tmp_path / "image.png"), picture)
    instance = dict(bbox=[20.0, 10.0, 60.0, 50.0], bbox_label=3, ignore_flag=0)
    pipeline = Compose(load_config(name).train_dataloader.dataset.pipeline)
    for _ in range(5):
        data = dict(img_path=str(tmp_path / "image.png"), img_id=0, instances=[dict(instance)])
        data = pipeline(data | dict(height=60, width=90))
        assert data["inputs"].shape == (3, size, size)
        objects = data["data_samples"].gt_instances
        assert objects.labels.tolist() == [3]
        boxes = objects.bboxes.tensor
        assert (boxes >= 0).all()
        assert (boxes <= size).all()
