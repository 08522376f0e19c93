_base_ = './rs-retinanet_r18_fpn_digits.py'

model = dict(bbox_head=dict(loss_cls=dict(type='aLRPLoss')))
# Tells the self-balance how many iterations an epoch has.
custom_hooks = [dict(type='SelfBalanceHook')]
