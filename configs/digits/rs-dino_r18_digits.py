_base_ = './dino_r18_digits.py'

# Of the weights of the losses only the ratio of L1 and GIoU matters here.
model = dict(bbox_head=dict(type='RankDINOHead', loss_cls=dict(_delete_=True, type='RankSortLoss')))
