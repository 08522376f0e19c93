# The short training of thesis Table N.1.
_base_ = [
    '../_base_/models/alrp-faster-rcnn_r50_fpn.py',
    '../_base_/datasets/coco-detection_lrp.py',
    '../_base_/schedules/rs-rcnn_1x.py',
    'mmdet::_base_/default_runtime.py',
    '../_base_/rank_runtime.py',
]

optim_wrapper = dict(optimizer=dict(lr=0.009))
# Tells the self-balance how many iterations an epoch has.
custom_hooks = [dict(type='SelfBalanceHook')]
