# Detection and pixelwise segmentation on one backbone, REG in both (REG 2.4); lambda is the
# loss_weight of loss_seg.
_base_ = [
    'mmdet::panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco.py',
    '../_base_/rank_runtime.py',
]

model = dict(
    roi_head=dict(bbox_head=dict(loss_cls=dict(_delete_=True, type='REGLoss', use_sigmoid=True))),
    semantic_head=dict(
        loss_seg=dict(_delete_=True, type='REGLoss', use_sigmoid=False, loss_weight=0.5)
    ),
)
