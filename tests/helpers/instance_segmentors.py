"""Tiny one-stage instance segmentors for 64-pixel images, by name."""

import mmdet_rank.register  # noqa: F401

from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope

BACKBONE = dict(
    type="ResNet", depth=18, base_channels=8, num_stages=4, out_indices=(0, 1, 2, 3),
    frozen_stages=-1, norm_cfg=dict(type="GN", num_groups=4), norm_eval=False, init_cfg=None,
)  # fmt: skip
NECK = dict(type="FPN", in_channels=[8, 16, 32, 64], out_channels=16, start_level=0, num_outs=4)
PREPROCESSOR = dict(
    type="DetDataPreprocessor", mean=[0.0] * 3, std=[1.0] * 3, pad_mask=True, pad_size_divisor=32
)
YOLACT = dict(
    type="YOLACT", data_preprocessor=PREPROCESSOR, backbone=BACKBONE, neck=NECK,
    bbox_head=dict(
        type="RankYOLACTHead", in_channels=16, feat_channels=16, num_protos=6,
        anchor_generator=dict(
            type="AnchorGenerator", octave_base_scale=3, scales_per_octave=1,
            ratios=[0.5, 1.0, 2.0], strides=[4, 8, 16, 32]),
        bbox_coder=dict(type="DeltaXYWHBBoxCoder", target_stds=[0.1, 0.1, 0.2, 0.2])),
    mask_head=dict(
        type="RankYOLACTProtonet", in_channels=16, num_protos=6,
        proto_channels=(16, 16, None, 16, 6), proto_kernel_sizes=(3, 3, -2, 3, 1)),
    train_cfg=dict(
        assigner=dict(type="MaxIoUAssigner", pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0.0,
                      ignore_iof_thr=-1, gt_max_assign_all=False),
        sampler=dict(type="PseudoSampler"), allowed_border=-1, pos_weight=-1, debug=False),
    test_cfg=dict(nms_pre=100, min_bbox_size=0, score_thr=0.0, iou_thr=0.5, top_k=20,
                  max_per_img=10),
)  # fmt: skip
SOLO = dict(
    type="SOLOv2", data_preprocessor=PREPROCESSOR, backbone=BACKBONE, neck=NECK,
    mask_head=dict(
        type="RankSOLOV2Head", in_channels=16, feat_channels=16, stacked_convs=1,
        strides=[8, 8, 16, 16], num_grids=[12, 10, 8, 6],
        scale_ranges=((1, 16), (8, 24), (16, 48), (32, 64)), pos_scale=0.2,
        norm_cfg=dict(type="GN", num_groups=4),
        mask_feature_head=dict(feat_channels=16, start_level=0, end_level=2, out_channels=8,
                               mask_stride=4, norm_cfg=dict(type="GN", num_groups=4))),
    test_cfg=dict(nms_pre=100, score_thr=0.0, mask_thr=0.5, filter_thr=0.0, kernel="gaussian",
                  sigma=2.0, max_per_img=10),
)  # fmt: skip
SEGMENTORS = {"yolact": YOLACT, "solov2": SOLO}


def build_segmentor(name, loss="RankSortLoss", num_classes=4, criterion=None, **options):
    """A segmentor with the ranking loss (a name or a config); ``options`` go to its mask head.

    The epoch balance gets a period of 3.
    """
    init_default_scope("mmdet")
    config = ConfigDict(SEGMENTORS[name]).copy()
    ranked = config.bbox_head if name == "yolact" else config.mask_head
    ranked.loss_cls = dict(type=loss) if isinstance(loss, str) else loss
    ranked.criterion = criterion
    if loss == "aLRPLoss":
        ranked.criterion = dict(balance=dict(type="epoch", period=3))
    for head in {id(ranked): ranked, id(config.mask_head): config.mask_head}.values():
        head.num_classes = num_classes
    config.mask_head.update(options)
    model = MODELS.build(config)
    model.init_weights()
    return model.train()


def backward(model, images, samples):
    """Losses of a batch, after their gradients were computed."""
    model.zero_grad()
    losses = model.loss(images, samples)
    model.parse_losses(losses)[0].backward()
    return losses
