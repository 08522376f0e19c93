_base_ = [
    '../_base_/digits/cascade-rcnn_r18_fpn.py',
    '../_base_/digits/digits_detection.py',
    '../_base_/digits/schedule.py',
    '../_base_/digits/runtime.py',
]
