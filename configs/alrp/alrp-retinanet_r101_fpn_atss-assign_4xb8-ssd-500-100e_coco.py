_base_ = './alrp-retinanet_r50_fpn_atss-assign_4xb8-ssd-500-100e_coco.py'

model = dict(
    backbone=dict(depth=101, init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101'))
)
