_base_ = [
    '../_base_/models/rs-mask-rcnn_r50_fpn.py',
    'mmdet::_base_/datasets/lvis_v1_instance.py',
    '../_base_/schedules/rs-rcnn_1x.py',
    'mmdet::_base_/default_runtime.py',
    '../_base_/rank_runtime.py',
]

model = dict(
    roi_head=dict(bbox_head=dict(num_classes=1203), mask_head=dict(num_classes=1203)),
    # LVIS takes up to 300 detections of an image.
    test_cfg=dict(rcnn=dict(max_per_img=300)),
)

train_dataloader = dict(batch_size=4, num_workers=4)
val_evaluator = dict(type='LVISLRPMetric')
test_evaluator = val_evaluator
