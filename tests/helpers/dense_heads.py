"""Small dense heads over strides 4, 8 and 16 of 64-pixel images, by name."""

import mmdet_rank.register  # noqa: F401

import torch
from mmdet.registry import MODELS
from mmengine.config import ConfigDict

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
NORM = dict(type="GN", num_groups=4)
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
        norm_cfg=NORM, train_cfg=ATSS,
    ),
    "paa": dict(
        type="RankPAAHead", stacked_convs=1, anchor_generator=ANCHORS, bbox_coder=CODER,
        norm_cfg=NORM, train_cfg=IOU | dict(assigner=IOU["assigner"] | dict(
            pos_iou_thr=0.1, neg_iou_thr=0.1)),
    ),
    "fovea": dict(
        type="RankFoveaHead", stacked_convs=1, strides=[4, 8, 16], base_edge_list=[8, 16, 32],
        scale_ranges=((1, 16), (8, 32), (16, 64)),
    ),
    "fcos": dict(
        type="RankFCOSHead", stacked_convs=1, strides=[4, 8, 16], norm_cfg=NORM,
        regress_ranges=((-1, 16), (16, 32), (32, 1e8)),
    ),
    "fcos_normed": dict(
        type="RankFCOSHead", stacked_convs=1, strides=[4, 8, 16], norm_cfg=NORM,
        regress_ranges=((-1, 16), (16, 32), (32, 1e8)), norm_on_bbox=True, center_sampling=True,
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


def predict_perfectly(head):
    """Set the parameters of a head so that it predicts the box (4,) returned, among others."""
    for parameter in head.parameters():
        torch.nn.init.zeros_(parameter)
    priors = head.prior_generator.grid_priors([(16, 16), (8, 8), (4, 4)], device="cpu")
    if priors[1].shape[1] == 4:
        inside = (priors[1] >= 0).all(1) & (priors[1] <= 64).all(1)
        return priors[1][inside][0]
    point = priors[1][27]
    if hasattr(head, "base_edge_list"):
        distance = head.base_edge_list[1]
    elif head.norm_on_bbox:
        torch.nn.init.constant_(head.conv_reg.bias, 2.5)
        torch.nn.init.ones_(head.scales[1].scale)
        distance = 2.5 * head.strides[1]
    else:
        torch.nn.init.constant_(head.conv_reg.bias, 3.0)
        torch.nn.init.ones_(head.scales[1].scale)
        distance = torch.tensor(3.0).exp()
    return torch.cat([point - distance, point + distance])
