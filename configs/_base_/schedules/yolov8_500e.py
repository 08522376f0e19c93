# 500 epochs of SGD: a warm-up of 3, then a linear fall to a hundredth; the weights are averaged,
# and the last 10 epochs are without mosaics. 8 GPUs x 16 images.
train_cfg = dict(
    type='EpochBasedTrainLoop',
    max_epochs=500,
    val_interval=10,
    dynamic_intervals=[(490, 1)],
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='OptimWrapper',
    # A decay of 0.0005 belongs to 64 images, and grows with the batch as the losses do.
    optimizer=dict(type='SGD', lr=0.01, momentum=0.937, nesterov=True, weight_decay=0.001),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
    clip_grad=dict(max_norm=10.0),
)
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=0.001,
        begin=0,
        end=3,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
    dict(
        type='LinearMomentum',
        start_factor=0.8 / 0.937,
        begin=0,
        end=3,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
    dict(type='LinearLR', start_factor=1.0, end_factor=0.01, begin=0, end=500, by_epoch=True),
]

ema_hook = dict(
    type='EMAHook',
    ema_type='ExpMomentumEMA',
    momentum=0.0001,
    update_buffers=True,
    priority=49,
)
custom_hooks = [
    # This hook switches before epoch max_epochs - num_last_epochs, counted from 1: ten are left.
    dict(
        type='YOLOXModeSwitchHook',
        num_last_epochs=9,
        skip_type_keys=('Mosaic', 'RandomAffine'),
        priority=48,
    ),
    ema_hook,
]
auto_scale_lr = dict(enable=False, base_batch_size=128)
