_base_ = './foveabox_r18_fpn_digits.py'

model = dict(
    bbox_head=dict(
        type='RankFoveaHead',
        loss_cls=dict(_delete_=True, type='RankSortLoss'),
        loss_bbox=dict(_delete_=True, type='GIoULoss'),
    )
)
