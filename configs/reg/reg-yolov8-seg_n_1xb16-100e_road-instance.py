_base_ = './yolov8-seg_n_1xb16-100e_road-instance.py'

model = dict(
    bbox_head=dict(
        type='WithClassDistances',
        head='YOLOv8SegHead',
        loss_cls=dict(
            _delete_=True,
            type='REGLoss',
            use_sigmoid=True,
            class_counts='auto',
            per_class=True,
            alpha_on='positives',
            beta=0.05,
            delta=64.0,
            near=True,
        ),
    )
)
default_hooks = dict(class_counts=dict(type='ClassCountsHook'))
