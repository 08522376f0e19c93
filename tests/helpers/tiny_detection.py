"""A detector, a data set and a config so small that a few iterations take a second."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

CLASSES = ("disc", "bar")

CONFIG = """
default_scope = "mmdet"
custom_imports = dict(imports=["mmdet_rank.register"], allow_failed_imports=False)
randomness = dict(seed={seed})
model = dict(
    type="RetinaNet",
    data_preprocessor=dict(
        type="DetDataPreprocessor", mean=[128.0] * 3, std=[64.0] * 3, pad_size_divisor=32),
    backbone=dict(type="ResNet", depth=18, base_channels=8, num_stages=4, out_indices=(0, 1, 2, 3),
                  norm_cfg=dict(type="BN"), norm_eval=False),
    neck=dict(type="FPN", in_channels=[8, 16, 32, 64], out_channels=16, start_level=1, num_outs=3),
    bbox_head=dict(
        type="RetinaHead", num_classes=2, in_channels=16, feat_channels=16, stacked_convs=1,
        anchor_generator=dict(type="AnchorGenerator", octave_base_scale=4, scales_per_octave=1,
                              ratios=[1.0], strides=[8, 16, 32]),
        bbox_coder=dict(type="DeltaXYWHBBoxCoder"),
        loss_cls=dict(type="FocalLoss", use_sigmoid=True, loss_weight=1.0),
        loss_bbox=dict(type="L1Loss", loss_weight=1.0)),
    train_cfg=dict(assigner=dict(type="MaxIoUAssigner", pos_iou_thr=0.5, neg_iou_thr=0.4,
                                 min_pos_iou=0, ignore_iof_thr=-1), allowed_border=-1,
                   pos_weight=-1, debug=False),
    test_cfg=dict(nms_pre=100, min_bbox_size=0, score_thr=0.0,
                  nms=dict(type="nms", iou_threshold=0.5), max_per_img=20))
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(type="Resize", scale=(64, 64), keep_ratio=True),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackDetInputs")]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(64, 64), keep_ratio=True),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(type="PackDetInputs",
         meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor"))]
folder = "{data}"
metainfo = dict(classes=("disc", "bar"))
train_dataloader = dict(
    batch_size=2, num_workers={workers}, persistent_workers={workers} > 0,
    sampler=dict(type="{sampler}", shuffle=True),
    dataset=dict(type="CocoDataset", data_root=folder, ann_file="annotations.json",
                 data_prefix=dict(img="images/"), metainfo=metainfo, pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(type="CocoDataset", data_root=folder, ann_file="annotations.json", test_mode=True,
                 data_prefix=dict(img="images/"), metainfo=metainfo, pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type="CocoMetric", ann_file=folder + "/annotations.json", metric="bbox")
test_evaluator = val_evaluator
{loop}
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
optim_wrapper = dict(type="OptimWrapper",
                     optimizer=dict(type="SGD", lr=0.01, momentum=0.9, weight_decay=1e-4))
param_scheduler = [dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=5)]
auto_scale_lr = dict(enable=False, base_batch_size=2)
default_hooks = dict(
    timer=dict(type="IterTimerHook"), logger=dict(type="LoggerHook", interval=1),
    param_scheduler=dict(type="ParamSchedulerHook"), sampler_seed=dict(type="DistSamplerSeedHook"),
    checkpoint=dict(type="CheckpointHook", {checkpoint}))
visualizer = dict(type="DetLocalVisualizer", name="visualizer", vis_backends=[])
log_level = "WARNING"
"""

EPOCHS = 'train_cfg = dict(type="EpochBasedTrainLoop", max_epochs={num}, val_interval=100)'
ITERATIONS = 'train_cfg = dict(type="IterBasedTrainLoop", max_iters={num}, val_interval=2)'


def write_data(folder: Path, num_images: int = 6, size: int = 64) -> Path:
    """Write images of one or two objects each, and their annotations, under `folder`/data."""
    rng = np.random.default_rng(0)
    data = folder / "data"
    (data / "images").mkdir(parents=True)
    images, annotations = [], []
    for image_id in range(num_images):
        picture = rng.integers(0, 80, (size, size, 3), dtype=np.uint8)
        for _ in range(int(rng.integers(1, 3))):
            category = int(rng.integers(1, 3))
            x, y = (int(v) for v in rng.integers(0, size - 30, 2))
            w, h = (28, 28) if category == 1 else (30, 14)
            if category == 1:
                cv2.circle(picture, (x + 14, y + 14), 14, (200, 90, 60), -1)
            else:
                cv2.rectangle(picture, (x, y), (x + w, y + h), (60, 220, 90), -1)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": category,
                    "bbox": [x, y, w, h],
                    "area": w * h,
                    "iscrowd": 0,
                }
            )
        name = f"{image_id:03d}.png"
        cv2.imwrite(str(data / "images" / name), picture)
        images.append({"id": image_id, "file_name": name, "width": size, "height": size})
    categories = [{"id": i, "name": name} for i, name in enumerate(CLASSES, start=1)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (data / "annotations.json").write_text(json.dumps(content))
    return data


def write_config(
    folder: Path,
    data: Path,
    *,
    epochs: int = 2,
    iterations: int | None = None,
    workers: int = 0,
    seed: int | None = 3,
    name: str = "tiny.py",
) -> Path:
    """Write a config for `data`: epochs of three iterations, or a number of iterations."""
    by_epoch = iterations is None
    text = CONFIG.format(
        seed=seed,
        data=data,
        workers=workers,
        sampler="DefaultSampler" if by_epoch else "InfiniteSampler",
        loop=EPOCHS.format(num=epochs) if by_epoch else ITERATIONS.format(num=iterations),
        checkpoint="interval=1" if by_epoch else "interval=1, by_epoch=False",
    )
    path = folder / name
    path.write_text(text)
    return path
