_base_ = './paa_r18_fpn_digits.py'

model = dict(
    bbox_head=dict(
        type='RankPAAHead',
        loss_cls=dict(_delete_=True, type='RankSortLoss'),
        loss_bbox=dict(_delete_=True, type='GIoULoss'),
        loss_centerness=None,
    )
)
