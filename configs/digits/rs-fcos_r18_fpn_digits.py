_base_ = './fcos_r18_fpn_digits.py'

model = dict(
    bbox_head=dict(
        type='RankFCOSHead',
        centerness_on_reg=False,
        loss_cls=dict(_delete_=True, type='RankSortLoss'),
        loss_bbox=dict(_delete_=True, type='GIoULoss'),
        loss_centerness=None,
    )
)
