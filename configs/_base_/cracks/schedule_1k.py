# 1,000 iterations of Adam at batch 16, the learning rate falling to 0 as a cosine.
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=0.005))
param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=False)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=1000, val_interval=500)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=16)
log_processor = dict(by_epoch=False)
