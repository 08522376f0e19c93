_base_ = [
    '../_base_/models/yolov8_n.py',
    '../_base_/datasets/bccd_320.py',
    '../_base_/schedules/adamw_1500i.py',
    '../_base_/lite/runtime.py',
]

model = dict(bbox_head=dict(num_classes=3))
default_hooks = dict(checkpoint=dict(interval=500))
