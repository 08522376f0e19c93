_base_ = [
    '../_base_/models/rs-mask-rcnn_r50_fpn.py',
    '../_base_/datasets/coco-instance_ms-480-960.py',
    '../_base_/schedules/rs-rcnn_3x.py',
    'mmdet::_base_/default_runtime.py',
    '../_base_/rank_runtime.py',
]

# FPN with lightweight upsampling.
model = dict(
    data_preprocessor=dict(pad_size_divisor=64),
    backbone=dict(
        depth=101, init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101')
    ),
    neck=dict(
        type='FPN_CARAFE',
        start_level=0,
        end_level=-1,
        norm_cfg=None,
        act_cfg=None,
        order=('conv', 'norm', 'act'),
        upsample_cfg=dict(
            type='carafe',
            up_kernel=5,
            up_group=1,
            encoder_kernel=3,
            encoder_dilation=1,
            compressed_channels=64,
        ),
    ),
)
