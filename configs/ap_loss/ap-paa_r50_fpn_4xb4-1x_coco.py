_base_ = '../rank_sort/rs-paa_r50_fpn_4xb4-1x_coco.py'

model = dict(
    bbox_head=dict(
        loss_cls=dict(type='APLoss', delta=1.0, interpolated=True),
        # AP Loss does not balance its tasks: the box loss counts as in the stock PAA.
        loss_bbox=dict(loss_weight=1.3),
    )
)
