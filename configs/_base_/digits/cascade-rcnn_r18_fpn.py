# Cascade R-CNN cut to the same budget as ./faster-rcnn_r18_fpn.py.
_base_ = 'mmdet::_base_/models/cascade-rcnn_r50_fpn.py'

strides = [4, 8, 16, 32]
model = dict(
    backbone=dict(depth=18, frozen_stages=-1, norm_eval=False, init_cfg=None),
    neck=dict(in_channels=[64, 128, 256, 512], out_channels=64, num_outs=4),
    rpn_head=dict(
        in_channels=64,
        feat_channels=64,
        anchor_generator=dict(scales=[4], strides=strides),
    ),
    # A list replaces the one that is inherited.
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=64, featmap_strides=strides),
        bbox_head=[
            dict(stage, in_channels=64, fc_out_channels=256, num_classes=10)
            for stage in _base_.model.roi_head.bbox_head
        ],
    ),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=500, max_per_img=200),
        rcnn=[
            dict(stage, sampler=dict(stage.sampler, num=128))
            for stage in _base_.model.train_cfg.rcnn
        ],
    ),
    # score_thr: see ./atss_r18_fpn.py.
    test_cfg=dict(rpn=dict(nms_pre=500, max_per_img=200), rcnn=dict(score_thr=0.0)),
)
