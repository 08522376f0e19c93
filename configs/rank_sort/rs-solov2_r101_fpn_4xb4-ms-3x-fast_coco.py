# The score threshold of the published code: fewer masks to score and to suppress.
_base_ = './rs-solov2_r101_fpn_4xb4-ms-3x_coco.py'

model = dict(test_cfg=dict(score_thr=0.2))
