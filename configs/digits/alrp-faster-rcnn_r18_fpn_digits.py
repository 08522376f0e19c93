_base_ = './rs-faster-rcnn_r18_fpn_digits.py'

model = dict(
    rpn_head=dict(
        # Positives of the RPN's assigner have an IoU of at least 0.7.
        loss_cls=dict(type='aLRPLoss', tau=0.7)
    ),
    roi_head=dict(bbox_head=dict(loss_cls=dict(type='aLRPLoss'))),
)
# Tells the self-balance how many iterations an epoch has.
custom_hooks = [dict(type='SelfBalanceHook')]
