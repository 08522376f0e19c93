_base_ = ['mmdet::foveabox/fovea_r50_fpn_4xb4-1x_coco.py', '../_base_/rank_runtime.py']

model = dict(
    bbox_head=dict(
        type='RankFoveaHead',
        loss_cls=dict(_delete_=True, type='RankSortLoss', delta=0.5),
        loss_bbox=dict(_delete_=True, type='GIoULoss', loss_weight=1.0),
    )
)

val_evaluator = dict(type='CocoLRPMetric')
test_evaluator = val_evaluator

# No paper has FoveaBox with RS Loss: the learning rate is that of RS-ATSS.
optim_wrapper = dict(optimizer=dict(lr=0.008))
auto_scale_lr = dict(enable=False, base_batch_size=16)
