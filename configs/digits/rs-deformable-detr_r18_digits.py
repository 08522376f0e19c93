_base_ = './deformable-detr_r18_digits.py'

# Of the weights of the losses only the ratio of L1 and GIoU matters here.
model = dict(
    bbox_head=dict(type='RankDeformableDETRHead', loss_cls=dict(_delete_=True, type='RankSortLoss'))
)
