_base_ = './rs-atss_lite0_fpn.py'

model = dict(
    bbox_head=dict(
        loss_cls=dict(type='APLoss'),
        # The classification loss alone is another one (thesis 8.5.1.2): boxes count as in the
        # stock ATSS, by the centerness of their anchors and with its constant weight.
        loss_bbox=dict(loss_weight=2.0),
        criterion=dict(instance_weight='centerness'),
    )
)
