_base_ = [
    './rs-faster-rcnn_r101-dcn_fpn_4xb4-ms-480-960-3x_coco.py',
    '../_base_/models/fpn_carafe.py',
]

model = dict(
    data_preprocessor=dict(pad_size_divisor=64),
    neck={{_base_.fpn_carafe}},
)
