_base_ = './mask-rcnn_lite0_fpn.py'

model = dict(
    rpn_head=dict(
        type='RankRPNHead',
        bbox_coder=dict(target_stds=[0.1, 0.1, 0.2, 0.2]),
        reg_decoded_bbox=True,
        loss_cls=dict(_delete_=True, type='RankSortLoss'),
        loss_bbox=dict(_delete_=True, type='GIoULoss'),
        criterion=dict(loss_weight=0.2),
    ),
    roi_head=dict(
        type='RankStandardRoIHead',
        bbox_head=dict(
            type='RankShared2FCBBoxHead',
            reg_decoded_bbox=True,
            loss_cls=dict(_delete_=True, type='RankSortLoss'),
            loss_bbox=dict(_delete_=True, type='GIoULoss'),
        ),
        mask_head=dict(
            type='RankFCNMaskHead',
            loss_mask=dict(_delete_=True, type='DiceLoss'),
            # Features of this backbone are large: logits would begin where Dice Loss is flat.
            logits_std=0.01,
        ),
    ),
    # Without sampling: all anchors; every proposal and the objects' own boxes.
    train_cfg=dict(
        rpn=dict(sampler=dict(_delete_=True, type='PseudoSampler')),
        rcnn=dict(sampler=dict(_delete_=True, type='EveryProposalSampler')),
    ),
)
