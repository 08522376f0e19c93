"""The configs of YOLACT and SOLOv2: their settings, literally, and their models at work."""

import functools

import pytest
import torch

import configs
from configs import build_model, find, predict, train_step

RS_LOSS = dict(type="RankSortLoss", delta=0.5)
LIGHT = dict(
    stacked_convs=2, feat_channels=256, out_channels=128,
    scale_ranges=((1, 56), (28, 112), (56, 224), (112, 448), (224, 896)),
)  # fmt: skip
FULL = dict(
    stacked_convs=4, feat_channels=512, out_channels=256,
    scale_ranges=((1, 96), (48, 192), (96, 384), (192, 768), (384, 2048)),
)  # fmt: skip
SETTINGS = {
    "rank_sort/rs-yolact_r50_4xb8-55e_coco.py": dict(
        lr=0.006, decay=5e-4, batch=32, epochs=55, milestones=None, depth=50, clip=None,
    ),
    "rank_sort/rs-solov2-light_r34_fpn_4xb8-ms-3x_coco.py": dict(
        lr=0.012, decay=1e-4, batch=32, epochs=36, milestones=[27, 33], depth=34, clip=35,
        head=LIGHT, scales=[(768, short) for short in range(512, 351, -32)], test=(448, 768),
        score_thr=0.05,
    ),
    "rank_sort/rs-solov2-light_r34_fpn_4xb8-ms-3x-fast_coco.py": dict(
        lr=0.012, decay=1e-4, batch=32, epochs=36, milestones=[27, 33], depth=34, clip=35,
        head=LIGHT, scales=[(768, short) for short in range(512, 351, -32)], test=(448, 768),
        score_thr=0.2,
    ),
    "rank_sort/rs-solov2_r101_fpn_4xb4-ms-3x_coco.py": dict(
        lr=0.006, decay=1e-4, batch=16, epochs=36, milestones=[27, 33], depth=101, clip=35,
        head=FULL, scales=[(1333, short) for short in range(800, 639, -32)], test=(1333, 800),
        score_thr=0.05,
    ),
    "rank_sort/rs-solov2_r101_fpn_4xb4-ms-3x-fast_coco.py": dict(
        lr=0.006, decay=1e-4, batch=16, epochs=36, milestones=[27, 33], depth=101, clip=35,
        head=FULL, scales=[(1333, short) for short in range(800, 639, -32)], test=(1333, 800),
        score_thr=0.2,
    ),
}  # fmt: skip
SOLO = [name for name in SETTINGS if "solov2" in name]
DIGITS = [
    f"digits/{prefix}{detector}_r18_fpn_digits.py"
    for detector in ("yolact", "solov2")
    for prefix in ("", "rs-")
]
BUILT = [name for name in (*SETTINGS, *DIGITS) if "fast" not in name]

load_config = functools.cache(configs.load_config)


@pytest.mark.parametrize("name", SETTINGS)
def test_schedule_and_batch(name):
    expected, config = SETTINGS[name], load_config(name)
    optimizer = dict(type="SGD", lr=expected["lr"], momentum=0.9, weight_decay=expected["decay"])
    assert config.optim_wrapper.optimizer == optimizer
    assert (config.optim_wrapper.get("clip_grad") or {}).get("max_norm") == expected["clip"]
    assert f"_4xb{config.train_dataloader.batch_size}" in name
    assert 4 * config.train_dataloader.batch_size == expected["batch"]
    assert config.auto_scale_lr.base_batch_size == expected["batch"]
    warm_up, schedule = config.param_scheduler
    assert (warm_up.type, warm_up.start_factor, warm_up.end) == ("LinearLR", 0.001, 500)
    assert not warm_up.by_epoch
    assert schedule.by_epoch
    assert (schedule.begin, schedule.end) == (0, expected["epochs"])
    if expected["milestones"]:
        assert (schedule.type, schedule.milestones) == ("MultiStepLR", expected["milestones"])
        assert schedule.gamma == 0.1
    else:
        assert (schedule.type, schedule.T_max) == ("CosineAnnealingLR", expected["epochs"])
        assert schedule.eta_min == 0
    loop = config.train_cfg
    assert (loop.type, loop.max_epochs) == ("EpochBasedTrainLoop", expected["epochs"])
    assert "by_epoch" not in loop


@pytest.mark.parametrize("name", SETTINGS)
def test_backbone_and_evaluation(name):
    config = load_config(name)
    backbone, depth = config.model.backbone, SETTINGS[name]["depth"]
    assert (backbone.type, backbone.depth) == ("ResNet", depth)
    assert backbone.init_cfg.checkpoint == f"torchvision://resnet{depth}"
    assert backbone.frozen_stages == (-1 if "yolact" in name else 1)
    for evaluator in (config.val_evaluator, config.test_evaluator):
        assert evaluator.type == "CocoLRPMetric"
        assert evaluator.metric == ("segm" if "solov2" in name else ["bbox", "segm"])
        assert evaluator.ann_file == "data/coco/annotations/instances_val2017.json"
    assert config.custom_imports == dict(
        imports=["mmdet_rank.register"], allow_failed_imports=False
    )


def test_yolact():
    config = load_config("rank_sort/rs-yolact_r50_4xb8-55e_coco.py")
    model = config.model
    head = model.bbox_head
    assert (head.type, model.mask_head.type) == ("RankYOLACTHead", "RankYOLACTProtonet")
    assert head.loss_cls == RS_LOSS
    assert head.loss_bbox == dict(type="GIoULoss", loss_weight=1.0)
    anchors = head.anchor_generator
    assert (anchors.octave_base_scale, anchors.scales_per_octave) == (3, 1)
    assert anchors.ratios == [0.5, 1.0, 2.0]
    assert head.bbox_coder.target_stds == [0.1, 0.1, 0.2, 0.2]
    assigner = dict(
        type="MaxIoUAssigner", pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0.0,
        ignore_iof_thr=-1, gt_max_assign_all=False,
    )  # fmt: skip
    assert model.train_cfg.assigner == assigner
    # Nothing of sampling, the semantic branch and the loss weights is left.
    assert not head.use_ohem
    for key in ("sampler", "neg_pos_ratio", "with_seg_branch", "loss_segm", "loss_mask_weight"):
        assert find(model, key) == []
    assert (model.mask_head.num_protos, model.mask_head.max_masks_to_train) == (32, None)
    test = model.test_cfg
    assert (test.score_thr, test.iou_thr, test.top_k, test.max_per_img) == (0.05, 0.5, 200, 100)
    assert (test.mask_thr, test.mask_thr_binary) == (0.5, 0.5)
    for loader in (config.train_dataloader, config.test_dataloader):
        resize = next(step for step in loader.dataset.pipeline if step.type == "Resize")
        assert (resize.scale, resize.keep_ratio) == ((550, 550), False)


@pytest.mark.parametrize("name", SOLO)
def test_solov2(name):
    expected, config = SETTINGS[name], load_config(name)
    head = config.model.mask_head
    assert head.type == "RankSOLOV2Head"
    assert head.loss_cls == RS_LOSS
    assert head.loss_mask == dict(type="DiceLoss", use_sigmoid=True, loss_weight=1.0)
    assert head.strides == [8, 8, 16, 32, 32]
    assert head.num_grids == [40, 36, 24, 16, 12]
    found = {key: head.get(key, head.mask_feature_head.get(key)) for key in expected["head"]}
    assert found == expected["head"] | dict(feat_channels=head.feat_channels)
    assert head.mask_feature_head.feat_channels == 128
    assert config.model.test_cfg.score_thr == expected["score_thr"]
    pipeline = config.train_dataloader.dataset.pipeline
    resize = next(step for step in pipeline if step.type == "RandomChoiceResize")
    assert (resize.scales, resize.keep_ratio) == (expected["scales"], True)
    pipeline = config.test_dataloader.dataset.pipeline
    resize = next(step for step in pipeline if step.type == "Resize")
    assert (resize.scale, resize.keep_ratio) == (expected["test"], True)


@pytest.mark.parametrize("detector", ["yolact", "solov2"])
def test_the_digits_compare_losses_only(detector):
    stock = load_config(f"digits/{detector}_r18_fpn_digits.py")
    ours = load_config(f"digits/rs-{detector}_r18_fpn_digits.py")
    for key in ("optim_wrapper", "param_scheduler", "train_cfg", "train_dataloader",
                "val_evaluator"):  # fmt: skip
        assert stock[key] == ours[key]
    for part in ("backbone", "neck", "test_cfg", "data_preprocessor"):
        assert stock.model[part] == ours.model[part]
    assert ours.val_evaluator.type == "CocoLRPMetric"
    assert find(ours.model, "use_ohem") in ([], [False])


@pytest.mark.parametrize("name", BUILT)
def test_model_trains_and_predicts(name):
    config = load_config(name)
    config.model.test_cfg.update(score_thr=0.0, filter_thr=0.0)  # Random weights score low.
    torch.manual_seed(0)
    model = build_model(config)
    num_classes = 10 if "digits" in name else 80
    ranks = "rs-" in name
    assert not (ranks and [key for key, _ in model.named_parameters() if "seg" in key])
    parameters = [p for p in model.parameters() if p.requires_grad]
    keys = set()
    for num_objects in [(2, 0), (0, 0)] if ranks else [(2, 0)]:
        model.zero_grad()
        losses = train_step(model, num_objects, num_classes, size=96, masks=True)
        keys.add(frozenset(losses))
        if ranks:
            assert (losses["num_pos"] > 0) == (sum(num_objects) > 0)
        assert all(p.grad is not None and p.grad.isfinite().all() for p in parameters)
    assert len(keys) == 1
    (sample,) = predict(model, size=96)
    found = sample.pred_instances
    assert len(found) > 0
    assert found.masks.shape == (len(found), 96, 96)
    assert found.scores.isfinite().all()
