_base_ = [
    'mmdet::fcos/fcos_r50-caffe_fpn_gn-head-center-normbbox-centeronreg-giou_1x_coco.py',
    '../_base_/rank_runtime.py',
]

model = dict(
    bbox_head=dict(
        type='RankFCOSHead',
        centerness_on_reg=False,
        loss_cls=dict(_delete_=True, type='RankSortLoss', delta=0.5),
        loss_bbox=dict(type='GIoULoss', loss_weight=1.0),
        loss_centerness=None,
    )
)

train_dataloader = dict(batch_size=4, num_workers=4)
val_evaluator = dict(type='CocoLRPMetric')
test_evaluator = val_evaluator

param_scheduler = _base_.param_scheduler
param_scheduler[0].update(start_factor=0.001)
# No paper has FCOS with RS Loss: the learning rate is that of RS-ATSS.
optim_wrapper = dict(optimizer=dict(lr=0.008))
auto_scale_lr = dict(enable=False, base_batch_size=16)
