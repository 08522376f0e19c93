_base_ = ['mmdet::solov2/solov2_r101_fpn_ms-3x_coco.py', '../_base_/rank_runtime.py']

model = dict(
    mask_head=dict(
        type='RankSOLOV2Head',
        loss_cls=dict(_delete_=True, type='RankSortLoss', delta=0.5),
        loss_mask=dict(type='DiceLoss', use_sigmoid=True, loss_weight=1.0),
    ),
    test_cfg=dict(score_thr=0.05),
)

train_dataloader = dict(batch_size=4, num_workers=4)
val_evaluator = dict(type='CocoLRPMetric')
test_evaluator = val_evaluator

optim_wrapper = dict(optimizer=dict(lr=0.006))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', begin=0, end=36, by_epoch=True, milestones=[27, 33], gamma=0.1),
]
auto_scale_lr = dict(enable=False, base_batch_size=16)
