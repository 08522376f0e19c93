# Class weights on positives and the spatial refinement of A.4 together.
_base_ = './reg-near-yolov8_n_1xb16-1500i_bccd.py'

model = dict(
    bbox_head=dict(loss_cls=dict(class_counts='auto', per_class=True, alpha_on='positives'))
)
custom_hooks = [dict(type='ClassCountsHook')]
