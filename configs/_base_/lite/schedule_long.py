# For data on which 600 iterations end while the curve still rises (docs/experiments.md).
_base_ = './schedule.py'

max_iters = 1500

train_cfg = dict(max_iters=max_iters, val_interval=375)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=_base_.warmup_iters),
    dict(
        type='CosineAnnealingLR',
        begin=_base_.warmup_iters,
        end=max_iters,
        T_max=max_iters - _base_.warmup_iters,
        eta_min_ratio=0.01,
        by_epoch=False,
    ),
]
