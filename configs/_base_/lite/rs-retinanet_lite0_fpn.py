_base_ = './retinanet_lite0_fpn.py'

model = dict(
    bbox_head=dict(
        type='RankRetinaHead',
        loss_cls=dict(_delete_=True, type='RankSortLoss'),
        loss_bbox=dict(_delete_=True, type='GIoULoss'),
    )
)
