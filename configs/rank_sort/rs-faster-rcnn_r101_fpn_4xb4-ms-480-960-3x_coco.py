_base_ = [
    '../_base_/models/rs-faster-rcnn_r50_fpn.py',
    '../_base_/datasets/coco-detection_ms-480-960.py',
    '../_base_/schedules/rs-rcnn_3x.py',
    'mmdet::_base_/default_runtime.py',
    '../_base_/rank_runtime.py',
]

model = dict(
    backbone=dict(depth=101, init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101'))
)
