_base_ = './rs-atss_lite0_fpn.py'

model = dict(
    bbox_head=dict(
        loss_cls=dict(type='APLoss'),
        # AP Loss does not balance its tasks: the box loss counts as in the stock ATSS.
        loss_bbox=dict(loss_weight=2.0),
    )
)
