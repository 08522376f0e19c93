_base_ = './rs-mask-rcnn_r101-dcn_fpn-carafe_4xb4-ms-480-960-3x_coco.py'

model = dict(
    backbone=dict(
        type='ResNeXt',
        depth=101,
        groups=64,
        base_width=4,
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://resnext101_64x4d'),
    )
)
