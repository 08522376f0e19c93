# Thesis Table 8.3, second row: all anchors for the RPN, random sampling (1:3) for the R-CNN.
_base_ = './rs-faster-rcnn_r50_fpn_4xb4-1x_coco.py'

model = dict(
    train_cfg=dict(
        rcnn=dict(
            sampler=dict(
                type='RandomSampler',
                num=512,
                pos_fraction=0.25,
                neg_pos_ub=-1,
                add_gt_as_proposals=True,
            )
        )
    )
)
