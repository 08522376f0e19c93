# Thesis Table 8.3, second row: all anchors for the RPN, random sampling (1:3) for the R-CNN.
_base_ = './rs-faster-rcnn_r18_fpn_digits.py'

model = dict(
    train_cfg=dict(
        rcnn=dict(
            sampler=dict(
                _delete_=True,
                type='RandomSampler',
                num=128,
                pos_fraction=0.25,
                neg_pos_ub=-1,
                add_gt_as_proposals=True,
            )
        )
    )
)
