_base_ = './alrp-retinanet_x101-64x4d_fpn_atss-assign_4xb4-ssd-800-100e_coco.py'

model = dict(
    backbone=dict(
        dcn=dict(type='DCNv2', deform_groups=1, fallback_on_stride=False),
        stage_with_dcn=(False, True, True, True),
    )
)
