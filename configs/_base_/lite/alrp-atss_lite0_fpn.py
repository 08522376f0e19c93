_base_ = './rs-atss_lite0_fpn.py'

model = dict(bbox_head=dict(loss_cls=dict(type='aLRPLoss')))
# Tells the self-balance how many iterations an epoch has.
custom_hooks = [dict(type='SelfBalanceHook')]
