_base_ = ['mmdet::rtmdet/rtmdet_s_8xb32-300e_coco.py', '../_base_/rank_runtime.py']

# Assignment, augmentation and schedule are those of RTMDet. The ranking gives the boxes their
# weight, so that Quality Focal Loss's soft targets and the box loss's weight 2 are gone.
model = dict(
    bbox_head=dict(
        type='RankRTMDetHead',
        loss_cls=dict(_delete_=True, type='RankSortLoss', delta=0.5),
    )
)

val_evaluator = dict(type='CocoLRPMetric')
test_evaluator = val_evaluator
auto_scale_lr = dict(enable=False, base_batch_size=256)
