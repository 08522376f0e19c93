_base_ = [
    '../_base_/models/yolov8_n.py',
    '../_base_/datasets/road-detection_640.py',
    '../_base_/schedules/yolov8_adamw_100e.py',
    'mmdet::_base_/default_runtime.py',
    '../_base_/rank_runtime.py',
]

act_cfg = dict(type='LeakyReLU', negative_slope=0.1)

model = dict(
    backbone=dict(act_cfg=act_cfg),
    neck=dict(act_cfg=act_cfg),
    bbox_head=dict(num_classes=7, act_cfg=act_cfg),
)
