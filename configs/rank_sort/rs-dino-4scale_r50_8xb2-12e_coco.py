_base_ = ['mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py', '../_base_/rank_runtime.py']

# Matching, denoising, schedule and learning rate are those of DINO; of the weights of its losses
# only the ratio of L1 and GIoU matters here.
model = dict(
    bbox_head=dict(
        type='RankDINOHead',
        loss_cls=dict(_delete_=True, type='RankSortLoss', delta=0.5),
    )
)

val_evaluator = dict(type='CocoLRPMetric')
test_evaluator = val_evaluator
auto_scale_lr = dict(enable=False, base_batch_size=16)
