# Thesis Table 8.3, first row: random sampling for the RPN (1:1) and the R-CNN (1:3).
_base_ = './rs-faster-rcnn_r50_fpn_rcnn-sampler_4xb4-1x_coco.py'

model = dict(
    train_cfg=dict(
        rpn=dict(
            sampler=dict(
                type='RandomSampler',
                num=256,
                pos_fraction=0.5,
                neg_pos_ub=-1,
                add_gt_as_proposals=False,
            )
        )
    )
)
