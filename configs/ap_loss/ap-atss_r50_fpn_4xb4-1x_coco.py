_base_ = '../rank_sort/rs-atss_r50_fpn_4xb4-1x_coco.py'

model = dict(
    bbox_head=dict(
        loss_cls=dict(type='APLoss', delta=1.0, interpolated=True),
        # The classification loss alone is another one (thesis 8.5.1.2): boxes count as in the
        # stock ATSS, by the centerness of their anchors and with its constant weight.
        loss_bbox=dict(loss_weight=2.0),
        criterion=dict(instance_weight='centerness'),
    )
)
