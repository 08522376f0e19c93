_base_ = [
    '../_base_/models/foveabox_r50_fpn.py',
    'mmdet::_base_/default_runtime.py',
    '../_base_/datasets/coco_ssd-500.py',
    '../_base_/schedules/sgd_100e.py',
    '../_base_/rank_runtime.py',
]

model = dict(
    bbox_head=dict(
        type='RankFoveaHead',
        reg_decoded_bbox=True,
        loss_cls=dict(_delete_=True, type='aLRPLoss', delta=1.0),
        loss_bbox=dict(_delete_=True, type='GIoULoss', loss_weight=1.0),
    )
)

param_scheduler = _base_.param_scheduler
param_scheduler[1].update(milestones=[75, 95])

# Tells the self-balance how many iterations an epoch has.
custom_hooks = [dict(type='SelfBalanceHook')]
