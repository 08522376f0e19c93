"""The configs of the two-stage detectors: their settings, literally, and their models at work."""

import functools
import re

import pytest
import torch
from mmengine.hub import get_config

import configs
from configs import build_model, find, predict, train_step
from mmdet_rank.criteria.balance import EpochBalance

ONE_X, THREE_X, HUNDRED = (12, [8, 11]), (36, [27, 33]), (100, [75, 95])
SINGLE = [(1333, 800)]
WIDE = [(1333, side) for side in (480, 560, 640, 720, 800, 880, 960)]
NARROW = [(1333, side) for side in (640, 672, 704, 736, 768, 800)]
NONE, RCNN, BOTH = (None, None), (None, 512), (256, 512)


def row(schedule, sizes=SINGLE, *, lr=0.012, batch=16, score_thr=0.05, samplers=NONE):
    return dict(
        lr=lr, batch=batch, schedule=schedule, sizes=sizes, score_thr=score_thr, samplers=samplers
    )


SETTINGS = {
    "rank_sort/rs-faster-rcnn_r50_fpn_4xb4-1x_coco.py": row(ONE_X),
    "rank_sort/rs-faster-rcnn_r50_fpn_4xb4-1x-fast_coco.py": row(ONE_X, score_thr=0.4),
    "rank_sort/rs-faster-rcnn_r50_fpn-carafe_4xb4-1x_coco.py": row(ONE_X),
    "rank_sort/rs-faster-rcnn_r50_fpn_rcnn-sampler_4xb4-1x_coco.py": row(ONE_X, samplers=RCNN),
    "rank_sort/rs-faster-rcnn_r50_fpn_samplers_4xb4-1x_coco.py": row(ONE_X, samplers=BOTH),
    "rank_sort/rs-faster-rcnn_r101_fpn_4xb4-ms-480-960-3x_coco.py": row(THREE_X, WIDE),
    "rank_sort/rs-faster-rcnn_r101-dcn_fpn_4xb4-ms-480-960-3x_coco.py": row(THREE_X, WIDE),
    "rank_sort/rs-faster-rcnn_r101-dcn_fpn-carafe_4xb4-ms-480-960-3x_coco.py": row(THREE_X, WIDE),
    "rank_sort/rs-faster-rcnn_x101-64x4d-dcn_fpn_4xb4-ms-480-960-3x_coco.py": row(THREE_X, WIDE),
    "rank_sort/rs-faster-rcnn_r50_fpn_4xb8-ssd-500-100e_coco.py": row(
        HUNDRED, [(512, 512)], lr=0.024, batch=32
    ),
    "rank_sort/rs-cascade-rcnn_r50_fpn_4xb4-1x_coco.py": row(ONE_X),
    "rank_sort/rs-cascade-rcnn_r50_fpn_4xb4-1x-fast_coco.py": row(ONE_X, score_thr=0.4),
    "rank_sort/rs-mask-rcnn_r50_fpn_4xb4-1x_coco.py": row(ONE_X),
    "rank_sort/rs-mask-rcnn_r50_fpn_4xb4-1x-fast_coco.py": row(ONE_X, score_thr=0.4),
    "rank_sort/rs-mask-rcnn_r50_fpn-carafe_4xb4-1x_coco.py": row(ONE_X),
    "rank_sort/rs-mask-rcnn_r101_fpn_4xb4-ms-640-800-3x_coco.py": row(THREE_X, NARROW),
    "rank_sort/rs-mask-rcnn_r101_fpn-carafe_4xb4-ms-480-960-3x_coco.py": row(THREE_X, WIDE),
    "rank_sort/rs-mask-rcnn_r101-dcn_fpn-carafe_4xb4-ms-480-960-3x_coco.py": row(THREE_X, WIDE),
    "rank_sort/rs-mask-rcnn_x101-64x4d-dcn_fpn-carafe_4xb4-ms-480-960-3x_coco.py": row(
        THREE_X, WIDE
    ),
    "rank_sort/rs-mask-rcnn_r50_fpn_sample1e-3_4xb4-ms-1x_lvis-v1.py": row(ONE_X, NARROW),
    "rank_sort/rs-mask-rcnn_r50_fpn_sample1e-3_4xb4-ms-1x-fast_lvis-v1.py": row(
        ONE_X, NARROW, score_thr=0.6
    ),
    "alrp/alrp-faster-rcnn_r50_fpn_4xb4-1x_coco.py": row(ONE_X, lr=0.009),
    "alrp/alrp-faster-rcnn_r50_fpn_4xb8-ssd-500-100e_coco.py": row(HUNDRED, [(512, 512)], batch=32),
}

STDS = [0.1, 0.1, 0.2, 0.2]
GIOU = dict(type="GIoULoss", loss_weight=1.0)
LOSSES = {
    "rs": [dict(type="RankSortLoss", delta=0.5)] * 2,
    "alrp": [dict(type="aLRPLoss", delta=1.0, tau=tau) for tau in (0.7, 0.5)],
}
BACKBONES = {
    "r50": dict(type="ResNet", depth=50, checkpoint="torchvision://resnet50"),
    "r101": dict(type="ResNet", depth=101, checkpoint="torchvision://resnet101"),
    "x101-64x4d": dict(
        type="ResNeXt", depth=101, groups=64, base_width=4,
        checkpoint="open-mmlab://resnext101_64x4d",
    ),
}  # fmt: skip
DCN = dict(type="DCNv2", deform_groups=4, fallback_on_stride=False)
CARAFE = dict(
    type="carafe", up_kernel=5, up_group=1, encoder_kernel=3, encoder_dilation=1,
    compressed_channels=64,
)  # fmt: skip

#: The others differ from these only in what is tested by reading: schedule, sizes, score_thr.
BUILT = [
    "rank_sort/rs-faster-rcnn_r50_fpn_samplers_4xb4-1x_coco.py",
    "rank_sort/rs-faster-rcnn_r50_fpn-carafe_4xb4-1x_coco.py",
    "rank_sort/rs-cascade-rcnn_r50_fpn_4xb4-1x_coco.py",
    "rank_sort/rs-mask-rcnn_r101_fpn_4xb4-ms-640-800-3x_coco.py",
    "rank_sort/rs-mask-rcnn_r50_fpn_sample1e-3_4xb4-ms-1x_lvis-v1.py",
    "rank_sort/rs-mask-rcnn_r101-dcn_fpn-carafe_4xb4-ms-480-960-3x_coco.py",
    "rank_sort/rs-mask-rcnn_x101-64x4d-dcn_fpn-carafe_4xb4-ms-480-960-3x_coco.py",
    "alrp/alrp-faster-rcnn_r50_fpn_4xb8-ssd-500-100e_coco.py",
]
DIGITS = [
    f"digits/{loss}{part}-rcnn_r18_fpn_digits.py" for loss in ("", "rs-")
    for part in ("faster", "cascade", "mask")
] + [
    f"digits/rs-faster-rcnn_r18_fpn_{part}_digits.py" for part in ("rcnn-sampler", "samplers")
]  # fmt: skip

every_config = pytest.mark.parametrize("name", SETTINGS)
load_config = functools.cache(configs.load_config)


def stages_of(model):
    """(box head, training config) of each stage of the R-CNN."""
    heads, train = model.roi_head.bbox_head, model.train_cfg.rcnn
    return list(zip(heads, train, strict=True)) if isinstance(heads, list) else [(heads, train)]


def test_every_config_is_in_the_table():
    present = [name for name in configs.config_names("rank_sort", "alrp") if "rcnn" in name]
    assert sorted(present) == sorted(SETTINGS)


@every_config
def test_schedule_and_batch(name):
    expected, config = SETTINGS[name], load_config(name)
    optimizer = dict(config.optim_wrapper.optimizer)
    optimizer.pop("_scope_", None)
    assert optimizer == dict(type="SGD", lr=expected["lr"], momentum=0.9, weight_decay=0.0001)
    gpus, per_gpu = map(int, re.search(r"_(\d)xb(\d)-", name).groups())
    assert per_gpu == config.train_dataloader.batch_size
    assert gpus * per_gpu == expected["batch"] == config.auto_scale_lr.base_batch_size
    assert not config.auto_scale_lr.enable
    warm_up, steps = config.param_scheduler
    assert (warm_up.type, warm_up.start_factor, warm_up.end) == ("LinearLR", 0.001, 500)
    assert not warm_up.by_epoch
    assert steps.by_epoch
    assert (config.train_cfg.max_epochs, steps.milestones) == expected["schedule"]
    assert (steps.end, steps.gamma) == (config.train_cfg.max_epochs, 0.1)


@every_config
def test_rpn(name):
    model = load_config(name).model
    head, train = model.rpn_head, model.train_cfg.rpn
    assert head.type == "RankRPNHead"
    anchors = head.anchor_generator
    assert (anchors.scales, anchors.ratios) == ([8], [0.5, 1.0, 2.0])
    assert anchors.strides == [4, 8, 16, 32, 64]
    assert (head.bbox_coder.target_stds, head.reg_decoded_bbox) == (STDS, True)
    loss = LOSSES[name.split("/")[1].split("-")[0]][0]
    assert (head.loss_cls, head.loss_bbox, head.criterion) == (loss, GIOU, dict(loss_weight=0.2))
    assigner = train.assigner
    assert (assigner.pos_iou_thr, assigner.neg_iou_thr, assigner.min_pos_iou) == (0.7, 0.3, 0.3)
    # As in MMDetection's own Faster and Cascade R-CNN.
    assert train.allowed_border == (0 if "cascade" in name else -1)
    proposals = model.train_cfg.rpn_proposal
    assert (proposals.nms_pre, proposals.max_per_img) == (2000, 1000)
    assert proposals.nms == dict(type="nms", iou_threshold=0.7)


@every_config
def test_rcnn(name):
    expected, model = SETTINGS[name], load_config(name).model
    stages = stages_of(model)
    thresholds = [0.5, 0.6, 0.7] if "cascade" in name else [0.5]
    classes = 1203 if "lvis" in name else 80
    assert len(stages) == len(thresholds)
    for (head, train), threshold in zip(stages, thresholds, strict=True):
        assert (head.type, head.num_classes) == ("RankShared2FCBBoxHead", classes)
        assert (head.bbox_coder.target_stds, head.reg_decoded_bbox) == (STDS, True)
        assert head.reg_class_agnostic == ("cascade" in name)
        loss = LOSSES[name.split("/")[1].split("-")[0]][1]
        assert (head.loss_cls, head.loss_bbox) == (loss, GIOU)
        assert "criterion" not in head
        assigner = train.assigner
        assert assigner.type == "MaxIoUAssigner"
        assert assigner.pos_iou_thr == assigner.neg_iou_thr == assigner.min_pos_iou == threshold
        assert not assigner.match_low_quality
    if "cascade" in name:
        assert model.roi_head.stage_loss_weights == [1, 1, 1]
    test = model.test_cfg.rcnn
    assert test.score_thr == expected["score_thr"]
    assert test.nms == dict(type="nms", iou_threshold=0.5)
    assert test.max_per_img == (300 if "lvis" in name else 100)


@every_config
def test_samplers(name):
    expected, model = SETTINGS[name], load_config(name).model
    seen = [model.train_cfg.rpn.sampler, stages_of(model)[0][1].sampler]
    for sampler, number, absent, fraction in zip(
        seen, expected["samplers"], ("PseudoSampler", "EveryProposalSampler"), (0.5, 0.25),
        strict=True,
    ):  # fmt: skip
        if number is None:
            assert sampler == dict(type=absent)
        else:
            assert (sampler.type, sampler.num) == ("RandomSampler", number)
            assert (sampler.pos_fraction, sampler.neg_pos_ub) == (fraction, -1)
    assert len(find(model, "sampler")) == 1 + len(stages_of(model))


@pytest.mark.parametrize(
    ("part", "numbers"),
    [("", (None, None)), ("rcnn-sampler_", (None, 128)), ("samplers_", (256, 128))],
)
def test_samplers_on_the_digits(part, numbers):
    name = "digits/rs-faster-rcnn_r18_fpn_digits.py"
    config, without = load_config(name.replace("digits.py", f"{part}digits.py")), load_config(name)
    train = config.model.train_cfg
    assert (train.rpn.sampler.get("num"), train.rcnn.sampler.get("num")) == numbers
    # Nothing else differs.
    model, other = config.model.to_dict(), without.model.to_dict()
    for stages in (model["train_cfg"], other["train_cfg"]):
        del stages["rpn"]["sampler"], stages["rcnn"]["sampler"]
    assert model == other
    for key in ("train_dataloader", "optim_wrapper", "param_scheduler", "train_cfg"):
        assert config[key] == without[key]


def test_cascade_on_the_digits():
    config, stock, full = (
        load_config(f"{name}.py")
        for name in (
            *(f"digits/{prefix}cascade-rcnn_r18_fpn_digits" for prefix in ("rs-", "")),
            "rank_sort/rs-cascade-rcnn_r50_fpn_4xb4-1x_coco",
        )
    )
    assert config.model.roi_head.stage_loss_weights == [1, 1, 1]
    stages = [stages_of(each.model) for each in (config, stock, full)]
    for (head, train), (stock_head, stock_train), (full_head, full_train) in zip(
        *stages, strict=True
    ):
        # Sizes are those of the stock detector, all else that of the config for COCO.
        sizes = ("in_channels", "fc_out_channels", "roi_feat_size", "num_classes")
        assert {key: head[key] for key in sizes} == {key: stock_head[key] for key in sizes}
        defaults = dict(loss_cls=dict(type="RankSortLoss"), loss_bbox=dict(type="GIoULoss"))
        expected = full_head.to_dict() | {key: stock_head[key] for key in sizes} | defaults
        assert head == expected
        assert train == full_train
        assert train.assigner == stock_train.assigner
        assert (stock_train.sampler.type, stock_train.sampler.num) == ("RandomSampler", 128)
    assert config.model.train_cfg.rpn.sampler == dict(type="PseudoSampler")


@every_config
def test_mask_head(name):
    model = load_config(name).model
    assert ("mask_head" in model.roi_head) == ("mask" in name)
    if "mask" not in name:
        return
    # Layers and test are those of MMDetection's Mask R-CNN.
    stock = get_config("mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py").model
    head, own = dict(model.roi_head.mask_head), dict(stock.roi_head.mask_head)
    assert head.pop("num_classes") == (1203 if "lvis" in name else own["num_classes"])
    assert head.pop("type") == "RankFCNMaskHead"
    assert head.pop("loss_mask") == dict(type="DiceLoss", loss_weight=1.0)
    assert head == {key: own[key] for key in ("num_convs", "in_channels", "conv_out_channels")}
    assert model.roi_head.mask_roi_extractor == stock.roi_head.mask_roi_extractor
    assert model.roi_head.max_masks == 200
    assert model.type == stock.type
    assert model.data_preprocessor.pad_mask
    assert model.train_cfg.rcnn.mask_size == stock.train_cfg.rcnn.mask_size
    assert model.test_cfg.rcnn.mask_thr_binary == stock.test_cfg.rcnn.mask_thr_binary


@every_config
def test_backbone_and_neck(name):
    model = load_config(name).model
    backbone, neck = name.split("_")[2 if "rank_sort" in name else 1 : 4][:2]
    expected = dict(BACKBONES[backbone.removesuffix("-dcn")])
    assert model.backbone.init_cfg.checkpoint == expected.pop("checkpoint")
    assert {key: model.backbone[key] for key in expected} == expected
    assert model.backbone.get("dcn") == (DCN if backbone.endswith("-dcn") else None)
    if backbone.endswith("-dcn"):
        assert model.backbone.stage_with_dcn == (False, True, True, True)
    if neck.endswith("-carafe"):
        assert (model.neck.type, model.neck.upsample_cfg) == ("FPN_CARAFE", CARAFE)
        assert model.data_preprocessor.pad_size_divisor == 64
    else:
        assert model.neck.type == "FPN"


@every_config
def test_data_and_evaluation(name):
    expected, config = SETTINGS[name], load_config(name)
    lvis, masks = "lvis" in name, "mask" in name
    dataset = config.train_dataloader.dataset
    if lvis:
        assert (dataset.type, dataset.oversample_thr) == ("ClassBalancedDataset", 1e-3)
        dataset = dataset.dataset
    assert dataset.type == ("LVISV1Dataset" if lvis else "CocoDataset")
    (resize,) = (step for step in dataset.pipeline if "Resize" in step.type)
    sizes = resize.get("scales") or [resize.scale]
    assert sizes == expected["sizes"]
    assert resize.type == ("Resize" if len(sizes) == 1 else "RandomChoiceResize")
    assert resize.keep_ratio == ("ssd" not in name)
    (load,) = (step for step in dataset.pipeline if step.type == "LoadAnnotations")
    assert load.get("with_mask", False) == masks
    assert "RandomFlip" in [step.type for step in dataset.pipeline]
    (resize,) = (step for step in config.test_dataloader.dataset.pipeline if step.type == "Resize")
    assert resize.scale == ((833, 500) if "ssd" in name else (1333, 800))
    for evaluator in (config.val_evaluator, config.test_evaluator):
        assert evaluator.type == ("LVISLRPMetric" if lvis else "CocoLRPMetric")
        assert evaluator.metric == (["bbox", "segm"] if masks else "bbox")
        folder = "lvis_v1/annotations/lvis_v1_val" if lvis else (
            "coco/annotations/instances_val2017"
        )  # fmt: skip
        assert evaluator.ann_file == f"data/{folder}.json"
    assert config.custom_imports == dict(
        imports=["mmdet_rank.register"], allow_failed_imports=False
    )
    hooks = [hook.type for hook in config.get("custom_hooks", [])]
    assert hooks == (["SelfBalanceHook"] if name.startswith("alrp") else [])


def test_every_part_is_built():
    every, built = (
        [load_config(name).model for name in names] for names in (list(SETTINGS), BUILT)
    )
    for part in ("rpn_head", "roi_head"):
        seen = [model[part] for model in built]
        assert all(model[part] in seen for model in every)
    for part in ("backbone", "neck"):
        kinds = {(model[part].type, bool(model[part].get("dcn"))) for model in built}
        assert all((model[part].type, bool(model[part].get("dcn"))) in kinds for model in every)


@pytest.mark.parametrize("name", [*BUILT, *DIGITS])
def test_model_trains_and_predicts(name):
    config = load_config(name)
    # Fewer proposals and detections, for the time that they take.
    config.model.train_cfg.rpn_proposal.max_per_img = 20
    config.model.test_cfg.rpn.max_per_img = 20
    config.model.test_cfg.rcnn.max_per_img = 5
    config.model.test_cfg.rcnn.score_thr = 0.0  # Random weights score low.
    torch.manual_seed(0)
    model = build_model(config)
    for module in model.modules():
        if isinstance(module, EpochBalance):
            module.period = 100
    parameters = [p for p in model.parameters() if p.requires_grad]
    stock, masks = name in DIGITS and "/rs-" not in name, "mask" in name
    classes = min(head.num_classes for head, _ in stages_of(config.model))
    size = 64 if "101" in name else 96
    keys = set()
    for num_objects in [(2, 0), (0, 0)]:
        model.zero_grad()
        losses = train_step(model, num_objects, num_classes=classes, size=size, masks=masks)
        keys.add(frozenset(losses))
        if not stock:
            for key in (key for key in losses if key.endswith("num_pos")):
                assert (losses[key] > 0) == (sum(num_objects) > 0)
        assert all(p.grad is not None and p.grad.isfinite().all() for p in parameters)
    assert len(keys) == 1
    (sample,) = predict(model, size=size)
    assert len(sample.pred_instances) > 0
    assert sample.pred_instances.bboxes.isfinite().all()
    assert hasattr(sample.pred_instances, "masks") == masks
