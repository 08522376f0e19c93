# 100 epochs of AdamW, down along half a cosine, with averaged weights; the last 10 epochs are
# without mosaics. 1 GPU x 16 images.
_base_ = './yolov8_500e.py'

train_cfg = dict(max_epochs=100, dynamic_intervals=[(90, 1)])
optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=0.001, weight_decay=0.05))
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=0.01,
        begin=0,
        end=3,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
    dict(
        type='CosineAnnealingLR',
        begin=3,
        end=100,
        T_max=97,
        eta_min_ratio=0.01,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
auto_scale_lr = dict(enable=False, base_batch_size=16)
