_base_ = ['mmdet::yolact/yolact_r50_1xb8-55e_coco.py', '../_base_/rank_runtime.py']

model = dict(
    bbox_head=dict(
        type='RankYOLACTHead',
        use_ohem=False,
        loss_cls=dict(_delete_=True, type='RankSortLoss', delta=0.5),
        loss_bbox=dict(_delete_=True, type='GIoULoss', loss_weight=1.0),
    ),
    # No semantic branch, no loss weights; all masks are trained, as in the published code.
    mask_head=dict(
        _delete_=True,
        type='RankYOLACTProtonet',
        in_channels=256,
        num_protos=32,
        num_classes=80,
        max_masks_to_train=None,
    ),
    train_cfg=dict(
        _delete_=True,
        assigner=dict(
            type='MaxIoUAssigner',
            pos_iou_thr=0.5,
            neg_iou_thr=0.4,
            min_pos_iou=0.0,
            ignore_iof_thr=-1,
            gt_max_assign_all=False,
        ),
        allowed_border=-1,
        pos_weight=-1,
        debug=False,
    ),
)

train_dataloader = dict(batch_size=8, num_workers=4)
val_evaluator = dict(type='CocoLRPMetric')
test_evaluator = val_evaluator

optim_wrapper = dict(optimizer=dict(lr=0.006, weight_decay=5e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type='CosineAnnealingLR', begin=0, end=55, T_max=55, eta_min=0.0, by_epoch=True),
]
auto_scale_lr = dict(enable=False, base_batch_size=32)
