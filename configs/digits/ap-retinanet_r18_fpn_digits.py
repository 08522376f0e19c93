_base_ = './rs-retinanet_r18_fpn_digits.py'

model = dict(
    bbox_head=dict(
        loss_cls=dict(type='APLoss'),
        # The published AP Loss regresses deltas, without balancing the tasks.
        loss_bbox=dict(_delete_=True, type='SmoothL1Loss', beta=1.0),
        reg_decoded_bbox=False,
    )
)
