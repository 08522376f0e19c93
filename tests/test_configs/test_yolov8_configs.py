"""The configs of YOLOv8: sizes, schedule, data; and their models at work."""

import functools
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import DATASETS, HOOKS
from mmdet.utils import register_all_modules
from mmengine.dataset import Compose
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS
from yolov8 import SIZES

import configs
from configs import build_model, predict, train_step

NAME = "yolov8/{}yolov8_{}_8xb16-500e_coco.py"
load_config = functools.cache(configs.load_config)

every_size = pytest.mark.parametrize("size", SIZES)
stock_and_ranking = pytest.mark.parametrize("prefix", ["", "rs-"])


@every_size
@stock_and_ranking
def test_model_settings(prefix, size):
    model = load_config(NAME.format(prefix, size)).model
    depth, width, last, channels, blocks = SIZES[size]
    backbone = model.backbone
    assert (backbone.deepen_factor, backbone.widen_factor) == (depth, width)
    assert backbone.last_stage_out_channels == last
    assert (model.neck.in_channels, model.neck.num_csp_blocks) == (channels, blocks)
    head = model.bbox_head
    assert (head.in_channels, head.num_classes, head.reg_max) == (channels, 80, 16)
    assert model.train_cfg.assigner == dict(type="InsideTaskAlignedAssigner", topk=10)
    assert (model.train_cfg.alpha, model.train_cfg.beta) == (0.5, 6.0)
    assert head.loss_bbox == dict(type="CompleteIoULoss", loss_weight=7.5)
    assert head.loss_dfl == dict(type="DistributionFocalLoss", loss_weight=0.375)
    if prefix:
        assert head.type == "RankYOLOv8Head"
        assert head.loss_cls == dict(type="RankSortLoss", delta=0.5)
    else:
        entropy = dict(type="CrossEntropyLoss", use_sigmoid=True, loss_weight=0.5)
        assert (head.type, head.loss_cls) == ("YOLOv8Head", entropy)
    test = model.test_cfg
    assert (test.score_thr, test.nms.iou_threshold, test.max_per_img) == (0.001, 0.7, 300)


@every_size
@stock_and_ranking
def test_schedule_and_data(prefix, size):
    config = load_config(NAME.format(prefix, size))
    optimizer = config.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr, optimizer.momentum) == ("SGD", 0.01, 0.937)
    assert optimizer.nesterov
    assert config.train_cfg.max_epochs == 500
    assert config.train_dataloader.batch_size * 8 == config.auto_scale_lr.base_batch_size == 128
    assert [hook.type for hook in config.custom_hooks] == ["YOLOXModeSwitchHook", "EMAHook"]
    assert config.train_dataloader.dataset.dataset.ann_file.endswith("instances_train2017.json")
    for evaluator in (config.val_evaluator, config.test_evaluator):
        assert (evaluator.type, evaluator.metric) == ("CocoLRPMetric", "bbox")
        assert evaluator.ann_file == "data/coco/annotations/instances_val2017.json"


def test_learning_rate_falls_to_a_hundredth():
    config = load_config(NAME.format("", "n"))
    register_all_modules()
    wrapper = build_optim_wrapper(torch.nn.Conv2d(1, 1, 1), config.optim_wrapper)
    schedulers = []
    for options in config.param_scheduler:
        options, cls = dict(options), PARAM_SCHEDULERS.get(options["type"])
        build = cls
        if options.pop("convert_to_iter_based", False):
            options.pop("type")
            build = functools.partial(cls.build_iter_from_epoch, epoch_length=10)
        options.pop("type", None)
        schedulers.append(build(optimizer=wrapper, **options))
    seen = {}
    for epoch in range(500):
        for iteration in range(10):
            seen[epoch + iteration / 10] = (
                wrapper.get_lr()["lr"][0],
                wrapper.get_momentum()["momentum"][0],
            )
            for scheduler in schedulers:
                if not scheduler.by_epoch:
                    scheduler.step()
        for scheduler in schedulers:
            if scheduler.by_epoch:
                scheduler.step()
    assert seen[0] == pytest.approx((0.00001, 0.8))
    assert seen[3.0] == pytest.approx((0.01 * (1 - 0.99 * 3 / 499), 0.937))
    assert seen[249.9][0] == pytest.approx(0.01 * (1 - 0.99 * 249 / 499))
    assert seen[499.9] == pytest.approx((0.0001, 0.937))
    assert max(rate for rate, _ in seen.values()) < 0.01


def test_mosaics_end_with_ten_epochs_left():
    config = load_config(NAME.format("", "n"))
    register_all_modules()
    options = dict(config.custom_hooks[0])
    options.pop("priority")
    hook = HOOKS.build(options)
    skipped = {}
    for epoch in range(500):
        dataset = SimpleNamespace(
            update_skip_type_keys=lambda keys, e=epoch: skipped.update({e: keys})
        )
        runner = SimpleNamespace(
            epoch=epoch, max_epochs=500, model=SimpleNamespace(bbox_head=SimpleNamespace()),
            train_dataloader=SimpleNamespace(dataset=dataset),
            logger=SimpleNamespace(info=lambda text: None),
        )  # fmt: skip
        hook.before_train_epoch(runner)
    assert skipped == {490: ("Mosaic", "RandomAffine")}


@pytest.fixture
def photographs(tmp_path):
    """A COCO data set of four pictures of 90 x 60, with one object each."""
    from mmengine.fileio import dump

    images, annotations = [], []
    for i in range(4):
        picture = np.full((60, 90, 3), 40 * i, dtype=np.uint8)
        cv2.imwrite(str(tmp_path / f"{i}.png"), picture)
        images.append(dict(id=i, file_name=f"{i}.png", width=90, height=60))
        annotations.append(
            dict(id=i, image_id=i, category_id=1, bbox=[20, 10, 40, 40], area=1600, iscrowd=0)
        )
    dump(dict(images=images, annotations=annotations, categories=[dict(id=1, name="thing")]),
         tmp_path / "all.json")  # fmt: skip
    return tmp_path


def test_training_images(photographs):
    config = load_config(NAME.format("", "n"))
    register_all_modules()
    np.random.seed(0)  # noqa: NPY002 (what transforms draw from)
    options = config.train_dataloader.dataset.copy()
    options.dataset = options.dataset | dict(
        data_root=str(photographs), ann_file="all.json", data_prefix=dict(img=""),
        metainfo=dict(classes=("thing",)),
    )  # fmt: skip
    dataset = DATASETS.build(options)
    counts = []
    for i in range(8):
        data = dataset[i % 4]
        assert data["inputs"].shape == (3, 640, 640)
        objects = data["data_samples"].gt_instances
        counts.append(len(objects))
        assert (objects.bboxes.tensor >= 0).all()
        assert (objects.bboxes.tensor <= 640).all()
    assert max(counts) > 1  # mosaics
    dataset.update_skip_type_keys(("Mosaic", "RandomAffine"))
    for i in range(4):
        data = dataset[i]
        assert data["inputs"].shape == (3, 640, 640)
        x1, y1, x2, y2 = data["data_samples"].gt_instances.bboxes.tensor[0].tolist()
        assert (x2 - x1, y2 - y1) == pytest.approx((40 * 640 / 90, 40 * 640 / 90), abs=1)
        assert y1 == pytest.approx(10 * 640 / 90, abs=1)  # the padding lies below
        assert (data["inputs"][:, 430:] == 114).all()


def test_boxes_of_a_letterboxed_image(photographs):
    config = load_config(NAME.format("", "n"))
    register_all_modules()
    pipeline = Compose(config.test_dataloader.dataset.pipeline)
    data = pipeline(
        dict(img_path=str(photographs / "1.png"), img_id=1, instances=[], height=60, width=90)
    )
    assert data["inputs"].shape == (3, 640, 640)
    assert (data["inputs"][:, 430:] == 114).all()
    torch.manual_seed(0)
    config = config.copy()
    config.model.test_cfg.score_thr = 0.0
    model = build_model(config).eval()
    batch = model.data_preprocessor(
        dict(inputs=[data["inputs"]], data_samples=[data["data_samples"]])
    )
    assert batch["inputs"].max() <= 1
    with torch.no_grad():
        (sample,) = model.predict(batch["inputs"], batch["data_samples"])
    boxes = sample.pred_instances.bboxes
    assert 0 < len(boxes) <= 300
    assert (boxes >= 0).all()
    assert (boxes <= torch.tensor([90.0, 60, 90, 60])).all()


@pytest.mark.parametrize(
    ("prefix", "size"), [("", "n"), ("rs-", "n"), ("rs-", "s"), ("", "m"), ("rs-", "l"), ("", "x")]
)
def test_model_trains(prefix, size):
    torch.manual_seed(0)
    model = build_model(load_config(NAME.format(prefix, size)))
    losses = train_step(model, (2, 0), num_classes=80, size=64)
    assert losses["loss_bbox"] > 0
    assert losses["loss_dfl"] > 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_classes_are_one_setting():
    config = load_config(NAME.format("rs-", "n")).copy()
    config.model.bbox_head.num_classes = 3
    config.model.test_cfg.score_thr = 0.0
    torch.manual_seed(0)
    model = build_model(config)
    train_step(model, (2, 1), num_classes=3, size=64)
    (sample,) = predict(model, size=64)
    assert set(sample.pred_instances.labels.tolist()) <= {0, 1, 2}
    assert model.bbox_head.head_module.cls_preds[0][-1].out_channels == 3
