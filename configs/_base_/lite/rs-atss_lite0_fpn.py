_base_ = './atss_lite0_fpn.py'

model = dict(
    bbox_head=dict(
        type='RankATSSHead',
        loss_cls=dict(_delete_=True, type='RankSortLoss'),
        loss_bbox=dict(_delete_=True, type='GIoULoss'),
        loss_centerness=None,
    )
)
