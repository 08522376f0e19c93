# Thesis Table 8.3, first row: random sampling for the RPN (1:1) and the R-CNN (1:3).
_base_ = './rs-faster-rcnn_r18_fpn_rcnn-sampler_digits.py'

model = dict(
    train_cfg=dict(
        rpn=dict(
            sampler=dict(
                _delete_=True,
                type='RandomSampler',
                num=256,
                pos_fraction=0.5,
                neg_pos_ub=-1,
                add_gt_as_proposals=False,
            )
        )
    )
)
