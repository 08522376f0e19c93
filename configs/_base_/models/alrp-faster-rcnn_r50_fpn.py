# Faster R-CNN with aLRP Loss in both stages and no sampler in either.
_base_ = './rs-faster-rcnn_r50_fpn.py'

model = dict(
    rpn_head=dict(
        # Positives of the RPN's assigner have an IoU of at least 0.7.
        loss_cls=dict(_delete_=True, type='aLRPLoss', delta=1.0, tau=0.7)
    ),
    roi_head=dict(
        bbox_head=dict(loss_cls=dict(_delete_=True, type='aLRPLoss', delta=1.0, tau=0.5))
    ),
)
