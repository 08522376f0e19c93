_base_ = '../rank_sort/rs-paa_r50_fpn_4xb4-1x_coco.py'

model = dict(bbox_head=dict(loss_cls=dict(type='aLRPLoss', delta=1.0)))

optim_wrapper = dict(optimizer=dict(lr=0.005))
# Tells the self-balance how many iterations an epoch has.
custom_hooks = [dict(type='SelfBalanceHook')]
