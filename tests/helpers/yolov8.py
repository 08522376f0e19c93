"""YOLOv8 and RTMDet's head in small, and weights that every machine computes alike."""

import math

import mmdet_rank.register  # noqa: F401

import torch
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope

SIZES = {
    "n": (0.33, 0.25, 1024, [64, 128, 256], 1),
    "s": (0.33, 0.5, 1024, [128, 256, 512], 1),
    "m": (0.67, 0.75, 768, [192, 384, 576], 2),
    "l": (1.0, 1.0, 512, [256, 512, 512], 3),
    "x": (1.0, 1.25, 512, [320, 640, 640], 3),
}
TEST_CFG = dict(
    score_thr=0.0, nms_pre=1000, nms=dict(type="nms", iou_threshold=0.7), max_per_img=10
)
RTMDET = dict(
    type="RankRTMDetHead", in_channels=8, feat_channels=8, stacked_convs=1, exp_on_reg=True,
    anchor_generator=dict(type="MlvlPointGenerator", offset=0, strides=[4, 8, 16]),
    bbox_coder=dict(type="DistancePointBBoxCoder"), with_objectness=False,
    train_cfg=dict(assigner=dict(type="DynamicSoftLabelAssigner", topk=13), allowed_border=-1,
                   pos_weight=-1),
)  # fmt: skip
YOLOV8 = dict(type="RankYOLOv8Head", in_channels=[8, 8, 8], strides=[4, 8, 16], reg_max=16)
HEADS = {"rtmdet": RTMDET, "yolov8": YOLOV8}


def build_head(name, num_classes=4, **options):
    """A head of 8 channels on strides 4, 8 and 16, training."""
    config = HEADS[name] | dict(num_classes=num_classes, test_cfg=TEST_CFG) | options
    head = MODELS.build(ConfigDict(config))
    head.init_weights()
    return head.train()


def build_detector(num_classes=7, **head):
    """YOLOv8-n with random weights."""
    init_default_scope("mmdet")
    return MODELS.build(
        ConfigDict(
            type="SingleStageDetector",
            data_preprocessor=dict(type="DetDataPreprocessor"),
            backbone=dict(type="YOLOv8CSPDarknet", deepen_factor=0.33, widen_factor=0.25),
            neck=dict(type="YOLOv8PAFPN", in_channels=[64, 128, 256]),
            bbox_head=dict(type="YOLOv8Head", num_classes=num_classes, in_channels=[64, 128, 256])
            | head,
            test_cfg=dict(
                score_thr=0.001, nms_pre=30000, nms=dict(type="nms", iou_threshold=0.7),
                max_per_img=300,
            ),
        )
    )  # fmt: skip


def scattered(number, seed):
    """So many numbers in [-1, 1), scattered by whole numbers alone."""
    place = torch.arange(number, dtype=torch.int64)
    return ((place * place * 31 + place * 1907 + seed * 6151) % 10007).double() / 10007 * 2 - 1


@torch.no_grad()
def fill_by_rule(model):
    """Set all weights by one formula, and switch the model to evaluation."""
    for seed, (name, tensor) in enumerate(sorted(model.state_dict().items())):
        if not tensor.is_floating_point():
            continue
        values = scattered(tensor.numel(), seed)
        if name.endswith(("running_var", "bn.weight")):
            values = 1 + 0.5 * values
        elif tensor.dim() >= 2:
            values = values * math.sqrt(6 / tensor[0].numel())
        else:
            values = 0.1 * values
        tensor.copy_(values.view(tensor.shape))
    return model.eval()


def scattered_images(batch, height, width):
    """Images (B, 3, H, W) of the same formula, in [0, 1]."""
    values = scattered(batch * 3 * height * width, 0) / 2 + 0.5
    return values.float().view(batch, 3, height, width)
