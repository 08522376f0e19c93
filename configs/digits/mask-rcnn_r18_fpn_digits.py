_base_ = [
    '../_base_/digits/mask-rcnn_r18_fpn.py',
    '../_base_/digits/digits_instance.py',
    '../_base_/digits/schedule.py',
    '../_base_/digits/runtime.py',
]
