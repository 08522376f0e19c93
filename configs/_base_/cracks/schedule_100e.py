# 100 epochs, as in the crack paper, which names no optimiser.
_base_ = './schedule_1k.py'

param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=True, convert_to_iter_based=True)]
train_cfg = dict(_delete_=True, type='EpochBasedTrainLoop', max_epochs=100, val_interval=10)
log_processor = dict(by_epoch=True)
