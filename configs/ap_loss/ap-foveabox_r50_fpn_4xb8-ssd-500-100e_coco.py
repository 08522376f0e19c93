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
        reg_decoded_bbox=False,
        loss_cls=dict(_delete_=True, type='APLoss', delta=1.0, interpolated=True),
        # Averaged over the four numbers of all positives.
        loss_bbox=dict(type='SmoothL1Loss', beta=0.11, loss_weight=1.0),
    )
)

# The learning rate of AP-RetinaNet, and the steps of FoveaBox with any loss (thesis L.4).
optim_wrapper = dict(optimizer=dict(lr=0.002))
param_scheduler = _base_.param_scheduler
param_scheduler[1].update(milestones=[75, 95])
