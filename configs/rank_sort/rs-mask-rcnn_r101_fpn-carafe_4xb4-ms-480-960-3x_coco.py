_base_ = [
    '../_base_/models/rs-mask-rcnn_r50_fpn.py',
    '../_base_/models/fpn_carafe.py',
    '../_base_/datasets/coco-instance_ms-480-960.py',
    '../_base_/schedules/rs-rcnn_3x.py',
    'mmdet::_base_/default_runtime.py',
    '../_base_/rank_runtime.py',
]

model = dict(
    data_preprocessor=dict(pad_size_divisor=64),
    backbone=dict(
        depth=101, init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101')
    ),
    neck={{_base_.fpn_carafe}},
)
