# The published score threshold, for faster testing.
_base_ = './rs-mask-rcnn_r50_fpn_sample1e-3_4xb4-ms-1x_lvis-v1.py'

model = dict(test_cfg=dict(rcnn=dict(score_thr=0.6)))
