_base_ = [
    'mmdet::_base_/models/retinanet_r50_fpn.py',
    'mmdet::_base_/default_runtime.py',
    '../_base_/datasets/coco_ssd-800.py',
    '../_base_/schedules/sgd_100e.py',
    '../_base_/rank_runtime.py',
]

model = dict(
    backbone=dict(
        depth=101, init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101')
    ),
    bbox_head=dict(
        type='RankRetinaHead',
        anchor_generator=dict(scales_per_octave=3, ratios=[1.0]),
        bbox_coder=dict(target_stds=[0.1, 0.1, 0.2, 0.2]),
        reg_decoded_bbox=True,
        loss_cls=dict(_delete_=True, type='aLRPLoss', delta=1.0),
        loss_bbox=dict(_delete_=True, type='GIoULoss', loss_weight=1.0),
    ),
    train_cfg=dict(
        assigner=dict(_delete_=True, type='ATSSAssigner', topk=9),
        sampler=None,
    ),
)

optim_wrapper = dict(optimizer=dict(lr=0.004))
auto_scale_lr = dict(enable=False, base_batch_size=16)

# Tells the self-balance how many iterations an epoch has.
custom_hooks = [dict(type='SelfBalanceHook')]
