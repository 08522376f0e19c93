_base_ = [
    '../_base_/lite/rs-retinanet_lite0_fpn.py',
    '../_base_/lite/tiles.py',
    '../_base_/lite/schedule_long.py',
    '../_base_/lite/runtime.py',
]

model = dict(bbox_head=dict(num_classes=5))
