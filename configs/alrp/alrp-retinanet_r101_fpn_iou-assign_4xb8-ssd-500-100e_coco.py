_base_ = './alrp-retinanet_r50_fpn_iou-assign_4xb8-ssd-500-100e_coco.py'

model = dict(
    backbone=dict(depth=101, init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101'))
)
