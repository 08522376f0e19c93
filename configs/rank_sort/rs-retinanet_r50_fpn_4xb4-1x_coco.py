_base_ = ['mmdet::retinanet/retinanet_r50_fpn_1x_coco.py', '../_base_/rank_runtime.py']

model = dict(
    bbox_head=dict(
        type='RankRetinaHead',
        # Box deltas as in the papers' other detectors on anchors.
        bbox_coder=dict(target_stds=[0.1, 0.1, 0.2, 0.2]),
        loss_cls=dict(_delete_=True, type='RankSortLoss', delta=0.5),
        loss_bbox=dict(_delete_=True, type='GIoULoss', loss_weight=1.0),
    ),
    train_cfg=dict(sampler=None),
)

train_dataloader = dict(batch_size=4, num_workers=4)
val_evaluator = dict(type='CocoLRPMetric')
test_evaluator = val_evaluator

# No paper has RetinaNet with RS Loss: the learning rate is that of RS-ATSS.
optim_wrapper = dict(optimizer=dict(lr=0.008))
auto_scale_lr = dict(enable=False, base_batch_size=16)
