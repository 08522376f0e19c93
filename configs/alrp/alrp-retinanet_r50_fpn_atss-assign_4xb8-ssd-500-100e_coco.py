_base_ = './alrp-retinanet_r50_fpn_iou-assign_4xb8-ssd-500-100e_coco.py'

model = dict(
    bbox_head=dict(anchor_generator=dict(ratios=[1.0])),
    train_cfg=dict(assigner=dict(_delete_=True, type='ATSSAssigner', topk=9)),
)

# The setting of the comparison with the state of the art (thesis 7.4.3).
param_scheduler = _base_.param_scheduler
param_scheduler[1].update(milestones=[75, 95])
