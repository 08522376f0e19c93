"""Small heads of MMDetection for 64-pixel images, with a classification loss of one's choice."""

import torch
from dense_heads import ANCHORS, ATSS, CODER, IOU, NORM, TEST_CFG
from instance_segmentors import SEGMENTORS
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from rcnn import detector_config
from synthetic import make_batch, make_features
from transformer_detectors import DETECTORS
from yolov8 import RTMDET

STRIDES = [4, 8, 16]
POINTS = dict(stacked_convs=1, strides=STRIDES, norm_cfg=NORM)
ON_ANCHORS = dict(stacked_convs=1, anchor_generator=ANCHORS, bbox_coder=CODER)
DENSE = {
    "RetinaHead": ON_ANCHORS | dict(train_cfg=IOU),
    "ATSSHead": ON_ANCHORS | dict(norm_cfg=NORM, train_cfg=ATSS, loss_bbox=dict(type="GIoULoss")),
    "GFLHead": dict(
        stacked_convs=1, norm_cfg=NORM, train_cfg=ATSS, loss_bbox=dict(type="GIoULoss"),
        anchor_generator=dict(type="AnchorGenerator", octave_base_scale=8, scales_per_octave=1,
                              ratios=[1.0], strides=STRIDES),
        loss_dfl=dict(type="DistributionFocalLoss", loss_weight=0.25),
    ),
    "FCOSHead": POINTS | dict(regress_ranges=((-1, 16), (16, 32), (32, 1e8))),
    "FoveaHead": dict(
        stacked_convs=1, strides=STRIDES, base_edge_list=[8, 16, 32],
        scale_ranges=((1, 16), (8, 32), (16, 64)),
    ),
    "VFNetHead": POINTS
    | dict(
        regress_ranges=((-1, 16), (16, 32), (32, 1e8)), train_cfg=ATSS,
        loss_bbox=dict(type="GIoULoss", loss_weight=1.5),
        anchor_generator=dict(
            type="AnchorGenerator", ratios=[1.0], octave_base_scale=8, scales_per_octave=1,
            center_offset=0.0, strides=STRIDES,
        ),
    ),
    "YOLOXHead": dict(
        stacked_convs=1, strides=STRIDES,
        train_cfg=dict(assigner=dict(type="SimOTAAssigner", center_radius=2.5)),
    ),
    "RTMDetSepBNHead": {k: v for k, v in RTMDET.items() if k not in ("type", "in_channels")}
    | dict(loss_bbox=dict(type="GIoULoss", loss_weight=2.0)),
    "YOLOv8Head": dict(strides=STRIDES),
}  # fmt: skip


def build_dense(name, loss, num_classes=4, **options):
    """A one-stage head of 8 channels, training."""
    config = dict(feat_channels=8) | DENSE[name]
    config |= dict(type=name, num_classes=num_classes, in_channels=8, test_cfg=TEST_CFG)
    if name == "YOLOv8Head":
        config.pop("feat_channels")
        config["in_channels"] = [8, 8, 8]
    head = MODELS.build(ConfigDict(config | dict(loss_cls=loss) | options))
    head.init_weights()
    return head.train()


def build_wrapped(name, loss):
    config = dict(feat_channels=8, in_channels=8) | DENSE[name]
    if name == "YOLOv8Head":
        config.pop("feat_channels")
        config["in_channels"] = [8, 8, 8]
    return MODELS.build(
        config | dict(type="WithClassDistances", head=name, num_classes=4, loss_cls=loss)
    ).train()


def dense_losses(name, loss, num_objects=(2, 1), **options):
    """The losses of a one-stage head, and the parameters that they come from."""
    torch.manual_seed(0)
    head = build_dense(name, loss, **options)
    return head.loss(make_features(len(num_objects)), make_batch(num_objects)[1]), head


def rcnn_losses(loss, num_objects=(2, 1)):
    """The losses of a Faster R-CNN of MMDetection."""
    init_default_scope("mmdet")
    torch.manual_seed(0)
    config = detector_config(rpn_sampler=SAMPLER, sampler=SAMPLER)
    entropy = dict(type="CrossEntropyLoss", use_sigmoid=True)
    config.rpn_head = config.rpn_head | dict(type="RPNHead", loss_cls=entropy)
    config.roi_head.type = "StandardRoIHead"
    config.roi_head.bbox_head = config.roi_head.bbox_head | dict(
        type="Shared2FCBBoxHead", loss_cls=loss
    )
    for head in (config.rpn_head, config.roi_head.bbox_head):
        head.pop("criterion")
    model = MODELS.build(config).train()
    images, samples = make_batch(num_objects)
    return model.loss(images, samples), model


SAMPLER = dict(type="RandomSampler", num=16, pos_fraction=0.5, neg_pos_ub=-1,
               add_gt_as_proposals=True)  # fmt: skip


def transformer_losses(loss, num_objects=(2, 1)):
    """The losses of a Deformable DETR of MMDetection."""
    init_default_scope("mmdet")
    torch.manual_seed(0)
    head = dict(type="DeformableDETRHead", embed_dims=16, num_classes=4, loss_cls=loss)
    model = MODELS.build(ConfigDict(DETECTORS["deformable_detr"] | dict(bbox_head=head))).train()
    # Its embeddings of levels are whatever lay in memory before.
    model.init_weights()
    images, samples = make_batch(num_objects)
    return model.loss(images, samples), model


def semantic_losses(loss, type="PanopticFPNHead", **options):
    """The losses of Panoptic FPN's semantic head, 2 things and 3 kinds of stuff."""
    init_default_scope("mmdet")
    torch.manual_seed(0)
    head = MODELS.build(
        ConfigDict(
            type=type, num_things_classes=2, num_stuff_classes=3, in_channels=8, inner_channels=8,
            norm_cfg=dict(type="GN", num_groups=4), end_level=3, loss_seg=loss, **options,
        )
    ).train()  # fmt: skip
    samples = make_batch((1, 1))[1]
    gen = torch.Generator().manual_seed(0)
    for sample in samples:
        labels = torch.randint(6, (1, 8, 8), generator=gen).repeat_interleave(8, 1)
        labels[labels == 5] = 255
        sample.gt_sem_seg = PixelData(sem_seg=labels.repeat_interleave(8, 2).byte())
    return head.loss(make_features(2), samples), head


def solo_losses(loss, num_objects=(2, 1)):
    """The losses of SOLOv2 of MMDetection."""
    init_default_scope("mmdet")
    torch.manual_seed(0)
    config = ConfigDict(SEGMENTORS["solov2"]).copy()
    config.mask_head = config.mask_head | dict(
        type="SOLOV2Head", num_classes=4, loss_cls=loss,
        loss_mask=dict(type="DiceLoss", use_sigmoid=True, loss_weight=3.0),
    )  # fmt: skip
    model = MODELS.build(config).train()
    images, samples = make_batch(num_objects, masks=True)
    return model.loss(images, samples), model
