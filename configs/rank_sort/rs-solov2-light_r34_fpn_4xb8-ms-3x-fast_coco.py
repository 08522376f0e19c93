# The score threshold of the published code: fewer masks to score and to suppress.
_base_ = './rs-solov2-light_r34_fpn_4xb8-ms-3x_coco.py'

model = dict(test_cfg=dict(score_thr=0.2))
