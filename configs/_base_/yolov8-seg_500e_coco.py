# All but the model of instance segmentation by YOLOv8, on COCO.
_base_ = [
    './datasets/coco-instance_mosaic-640.py',
    './schedules/yolov8_500e.py',
    'mmdet::_base_/default_runtime.py',
    './rank_runtime.py',
]

default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=3))
custom_hooks = [
    {{_base_.ema_hook}},
    dict(
        type='PipelineSwitchHook',
        switch_epoch=490,
        switch_pipeline={{_base_.train_pipeline_without_mosaics}},
    ),
]
