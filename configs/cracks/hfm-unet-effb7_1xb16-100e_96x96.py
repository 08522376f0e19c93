_base_ = [
    '../_base_/cracks/unet-effb7.py',
    '../_base_/cracks/masks_96x96.py',
    '../_base_/cracks/schedule_100e.py',
    '../_base_/cracks/runtime_100e.py',
]

train_dataloader = dict(sampler=dict(type='DefaultSampler'))
