"""Small dense heads over strides 4, 8 and 16 of 64-pixel images, by name."""

from mmdet.registry import MODELS
from mmengine.config import ConfigDict

import mmdet_rank  # noqa: F401

LOSSES = ("RankSortLoss", "aLRPLoss", "APLoss")
TEST_CFG = dict(
    nms_pre=100, min_bbox_size=0, score_thr=0.0, nms=dict(type="nms", iou_threshold=0.3),
    max_per_img=10,
)  # fmt: skip
ANCHORS = dict(type="AnchorGenerator", octave_base_scale=4, scales_per_octave=2, ratios=[1.0],
               strides=[4, 8, 16])  # fmt: skip
CODER = dict(type="DeltaXYWHBBoxCoder", target_stds=[0.1, 0.1, 0.2, 0.2])
IOU = dict(
    assigner=dict(type="MaxIoUAssigner", pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0),
    allowed_border=-1, pos_weight=-1,
)  # fmt: skip
ATSS = dict(assigner=dict(type="ATSSAssigner", topk=9), allowed_border=-1, pos_weight=-1)

HEADS = {
    "retina_iou": dict(
        type="RankRetinaHead", stacked_convs=1, anchor_generator=ANCHORS, bbox_coder=CODER,
        train_cfg=IOU,
    ),
    "retina_atss": dict(
        type="RankRetinaHead", stacked_convs=1, anchor_generator=ANCHORS, bbox_coder=CODER,
        train_cfg=ATSS,
    ),
    "atss": dict(
        type="RankATSSHead", stacked_convs=1, anchor_generator=ANCHORS, bbox_coder=CODER,
        norm_cfg=dict(type="GN", num_groups=4), train_cfg=ATSS,
    ),
}  # fmt: skip


def build_head(name, loss="RankSortLoss", num_classes=4, **options):
    """A head of 8 channels; the epoch balance gets a period of 3."""
    options = {"loss_cls": dict(type=loss)} | options
    if loss == "aLRPLoss":
        options.setdefault("criterion", dict(balance=dict(type="epoch", period=3)))
    config = HEADS[name] | dict(
        num_classes=num_classes, in_channels=8, feat_channels=8, test_cfg=TEST_CFG
    )
    head = MODELS.build(ConfigDict(config | options))
    head.init_weights()
    return head.train()
