_base_ = [
    '../_base_/lite/faster-rcnn_lite0_fpn.py',
    '../_base_/lite/tiles.py',
    '../_base_/lite/schedule_long.py',
    '../_base_/lite/runtime.py',
]

model = dict(roi_head=dict(bbox_head=dict(num_classes=5)))
