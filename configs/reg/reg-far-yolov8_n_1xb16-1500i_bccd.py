# The spatial refinement as printed in 2.3, by which places far from objects count more.
_base_ = './reg-near-yolov8_n_1xb16-1500i_bccd.py'

model = dict(bbox_head=dict(loss_cls=dict(near=False)))
