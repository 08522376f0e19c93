_base_ = [
    '../_base_/models/yolov8_x.py',
    '../_base_/datasets/coco-detection_mosaic-640.py',
    '../_base_/schedules/yolov8_500e.py',
    'mmdet::_base_/default_runtime.py',
    '../_base_/rank_runtime.py',
]

default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=3))
