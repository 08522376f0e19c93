# REG in ATSS on a pretrained backbone: class weights on positives, and near counts more (A.4).
_base_ = '../lite/atss_lite0_fpn_bccd.py'

model = dict(
    bbox_head=dict(
        type='WithClassDistances',
        head='ATSSHead',
        loss_cls=dict(
            _delete_=True,
            type='REGLoss',
            use_sigmoid=True,
            class_counts='auto',
            per_class=True,
            alpha_on='positives',
            beta=0.05,
            delta=32.0,
            near=True,
            loss_weight=0.5,
        ),
    )
)
custom_hooks = [dict(type='ClassCountsHook')]
