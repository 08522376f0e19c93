# Class weights by inverse frequency on the term of positives alone.
_base_ = './reg-both-yolov8_n_1xb16-1500i_bccd.py'

model = dict(bbox_head=dict(loss_cls=dict(alpha_on='positives')))
