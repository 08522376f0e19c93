# The long training of thesis Table N.1.
_base_ = [
    '../_base_/models/rs-faster-rcnn_r50_fpn.py',
    '../_base_/datasets/coco_ssd-500.py',
    '../_base_/schedules/sgd_100e.py',
    'mmdet::_base_/default_runtime.py',
    '../_base_/rank_runtime.py',
]

optim_wrapper = dict(optimizer=dict(lr=0.024))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', begin=0, end=100, by_epoch=True, milestones=[75, 95], gamma=0.1),
]
