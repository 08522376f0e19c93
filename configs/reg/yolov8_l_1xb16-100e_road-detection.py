_base_ = './yolov8_n_1xb16-100e_road-detection.py'

model = dict(
    backbone=dict(deepen_factor=1.0, widen_factor=1.0, last_stage_out_channels=512),
    neck=dict(in_channels=[256, 512, 512], num_csp_blocks=3),
    bbox_head=dict(in_channels=[256, 512, 512]),
)
