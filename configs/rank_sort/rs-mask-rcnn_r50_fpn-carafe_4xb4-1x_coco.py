_base_ = ['./rs-mask-rcnn_r50_fpn_4xb4-1x_coco.py', '../_base_/models/fpn_carafe.py']

model = dict(
    data_preprocessor=dict(pad_size_divisor=64),
    neck={{_base_.fpn_carafe}},
)
