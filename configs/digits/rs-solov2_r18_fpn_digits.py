_base_ = './solov2_r18_fpn_digits.py'

model = dict(
    mask_head=dict(
        type='RankSOLOV2Head',
        loss_cls=dict(_delete_=True, type='RankSortLoss'),
        loss_mask=dict(loss_weight=1.0),
    )
)
