_base_ = './alrp-retinanet_r101_fpn_atss-assign_4xb4-ssd-800-100e_coco.py'

model = dict(
    backbone=dict(
        type='ResNeXt',
        groups=64,
        base_width=4,
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://resnext101_64x4d'),
    )
)
