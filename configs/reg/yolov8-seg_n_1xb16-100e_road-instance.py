_base_ = [
    '../_base_/models/yolov8-seg_n.py',
    '../_base_/datasets/road-instance_640.py',
    '../_base_/schedules/yolov8_adamw_100e.py',
    'mmdet::_base_/default_runtime.py',
    '../_base_/rank_runtime.py',
]

act_cfg = dict(type='LeakyReLU', negative_slope=0.1)

model = dict(
    backbone=dict(act_cfg=act_cfg),
    neck=dict(act_cfg=act_cfg),
    bbox_head=dict(num_classes=5, act_cfg=act_cfg),
    mask_head=dict(act_cfg=act_cfg),
)
custom_hooks = [
    {{_base_.ema_hook}},
    dict(
        type='PipelineSwitchHook',
        switch_epoch=90,
        switch_pipeline={{_base_.train_pipeline_without_mosaics}},
    ),
]
