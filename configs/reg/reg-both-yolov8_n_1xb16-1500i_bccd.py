# Class weights by inverse frequency on both terms of each class.
_base_ = '../yolov8/yolov8_n_1xb16-1500i_bccd.py'

model = dict(
    bbox_head=dict(
        loss_cls=dict(
            _delete_=True,
            type='REGLoss',
            use_sigmoid=True,
            class_counts='auto',
            per_class=True,
            alpha_on='both',
        )
    )
)
custom_hooks = [dict(type='ClassCountsHook')]
