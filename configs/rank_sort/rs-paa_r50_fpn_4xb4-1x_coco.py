_base_ = ['mmdet::paa/paa_r50_fpn_1x_coco.py', '../_base_/rank_runtime.py']

model = dict(
    bbox_head=dict(
        type='RankPAAHead',
        anchor_generator=dict(ratios=[1.0], octave_base_scale=4, scales_per_octave=3),
        loss_cls=dict(_delete_=True, type='RankSortLoss', delta=0.5),
        loss_bbox=dict(type='GIoULoss', loss_weight=1.0),
        loss_centerness=None,
        # Candidates are scored as PAA scores them; this trains nothing.
        score_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25),
        score_bbox=dict(type='GIoULoss', loss_weight=1.3),
    )
)

train_dataloader = dict(batch_size=4, num_workers=4)
val_evaluator = dict(type='CocoLRPMetric')
test_evaluator = val_evaluator

optim_wrapper = dict(optimizer=dict(lr=0.008))
auto_scale_lr = dict(enable=False, base_batch_size=16)
