"""Small two-stage detectors for 64-pixel images, by name."""

import mmdet_rank.register  # noqa: F401

from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from synthetic import make_batch

DETECTORS = ("faster", "mask", "cascade", "cascade_mask")
LOSSES = ("RankSortLoss", "aLRPLoss", "APLoss")
STRIDES = [4, 8, 16]
CODER = dict(type="DeltaXYWHBBoxCoder", target_stds=[0.1, 0.1, 0.2, 0.2])
RANDOM = dict(type="RandomSampler", num=16, pos_fraction=0.5, add_gt_as_proposals=True)


def assigner(threshold, low=None):
    low = threshold if low is None else low
    return dict(
        type="MaxIoUAssigner", pos_iou_thr=threshold, neg_iou_thr=low, min_pos_iou=low,
        match_low_quality=low < threshold, ignore_iof_thr=-1,
    )  # fmt: skip


def criterion_options(loss):
    """The epoch balance gets a period of 3."""
    return dict(balance=dict(type="epoch", period=3)) if loss == "aLRPLoss" else {}


def extractor(size):
    return dict(
        type="SingleRoIExtractor", out_channels=8, featmap_strides=STRIDES,
        roi_layer=dict(type="RoIAlign", output_size=size, sampling_ratio=0), finest_scale=16,
    )  # fmt: skip


def detector_config(
    name="faster", loss="RankSortLoss", num_classes=4, agnostic=None, box=None, rpn=None,
    rpn_sampler=None, sampler=None, **roi_options,
):  # fmt: skip
    """Config of a detector with three levels of 8 channels."""
    cascade = name.startswith("cascade")
    rpn_loss = dict(type=loss) | (dict(tau=0.7) if loss == "aLRPLoss" else {})
    bbox_head = dict(
        type="RankShared2FCBBoxHead", in_channels=8, fc_out_channels=64, roi_feat_size=4,
        num_classes=num_classes, bbox_coder=CODER, loss_cls=dict(type=loss),
        reg_class_agnostic=cascade if agnostic is None else agnostic,
        criterion=criterion_options(loss),
    ) | (box or {})  # fmt: skip
    roi_head = dict(
        type="RankStandardRoIHead", bbox_roi_extractor=extractor(4), bbox_head=bbox_head
    )
    stages = [
        dict(assigner=assigner(threshold), sampler=sampler, pos_weight=-1, mask_size=14)
        for threshold in (0.5, 0.6, 0.7)
    ]
    if cascade:
        roi_head |= dict(type="RankCascadeRoIHead", num_stages=3, stage_loss_weights=[1, 1, 1])
    if name.endswith("mask"):
        roi_head |= dict(
            mask_roi_extractor=extractor(7),
            mask_head=dict(
                type="RankFCNMaskHead", num_convs=1, in_channels=8, conv_out_channels=8,
                num_classes=num_classes,
            ),
        )  # fmt: skip
    nms = dict(type="nms", iou_threshold=0.7)
    proposals = dict(nms_pre=60, max_per_img=30, nms=nms, min_bbox_size=0)
    return ConfigDict(
        type="CascadeRCNN" if cascade else "FasterRCNN",
        backbone=dict(
            type="ResNet", depth=18, base_channels=8, num_stages=3, strides=(1, 2, 2),
            dilations=(1, 1, 1), out_indices=(0, 1, 2), norm_cfg=dict(type="BN"), norm_eval=False,
        ),
        neck=dict(type="FPN", in_channels=[8, 16, 32], out_channels=8, num_outs=3),
        rpn_head=dict(
            type="RankRPNHead", in_channels=8, feat_channels=8, bbox_coder=CODER,
            anchor_generator=dict(
                type="AnchorGenerator", scales=[4], ratios=[0.5, 1.0, 2.0], strides=STRIDES
            ),
            loss_cls=rpn_loss, criterion=criterion_options(loss) | dict(loss_weight=0.2),
        ) | (rpn or {}),
        roi_head=roi_head | roi_options,
        train_cfg=dict(
            rpn=dict(
                assigner=assigner(0.7, 0.3), sampler=rpn_sampler, allowed_border=-1, pos_weight=-1
            ),
            rpn_proposal=proposals,
            rcnn=stages if cascade else stages[0],
        ),
        test_cfg=dict(
            rpn=proposals,
            rcnn=dict(
                score_thr=0.0, nms=dict(type="nms", iou_threshold=0.5), max_per_img=10,
                mask_thr_binary=0.5,
            ),
        ),
    )  # fmt: skip


def build_detector(name="faster", *args, **kwargs):
    """A detector in training mode."""
    init_default_scope("mmdet")
    model = MODELS.build(detector_config(name, *args, **kwargs))
    model.init_weights()
    return model.train()


def batch_for(name, num_objects=(2, 1), num_classes=4, seed=0):
    """Images and samples, with masks where the detector has them."""
    return make_batch(num_objects, num_classes, masks=name.endswith("mask"), seed=seed)


def losses_of(model, images, samples):
    """The losses, after the backward pass."""
    losses = model.loss(images, samples)
    sum_of(losses).backward()
    return losses


def sum_of(losses):
    """The sum of all losses."""
    return sum(value for key, value in losses.items() if "loss" in key)
