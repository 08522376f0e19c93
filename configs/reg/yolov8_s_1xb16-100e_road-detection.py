_base_ = './yolov8_n_1xb16-100e_road-detection.py'

model = dict(
    backbone=dict(deepen_factor=0.33, widen_factor=0.5, last_stage_out_channels=1024),
    neck=dict(in_channels=[128, 256, 512], num_csp_blocks=1),
    bbox_head=dict(in_channels=[128, 256, 512]),
)
