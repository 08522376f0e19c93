_base_ = './yolov8_n_1xb16-100e_road-detection.py'

model = dict(
    backbone=dict(deepen_factor=0.67, widen_factor=0.75, last_stage_out_channels=768),
    neck=dict(in_channels=[192, 384, 576], num_csp_blocks=2),
    bbox_head=dict(in_channels=[192, 384, 576]),
)
