# The published score threshold: faster testing, about 0.1 AP less.
_base_ = './rs-cascade-rcnn_r50_fpn_4xb4-1x_coco.py'

model = dict(test_cfg=dict(rcnn=dict(score_thr=0.4)))
