# Faster R-CNN with RS Loss in both stages and no sampler in either.
_base_ = 'mmdet::_base_/models/faster-rcnn_r50_fpn.py'

model = dict(
    rpn_head=dict(
        type='RankRPNHead',
        bbox_coder=dict(target_stds=[0.1, 0.1, 0.2, 0.2]),
        reg_decoded_bbox=True,
        loss_cls=dict(_delete_=True, type='RankSortLoss', delta=0.5),
        loss_bbox=dict(_delete_=True, type='GIoULoss', loss_weight=1.0),
        criterion=dict(loss_weight=0.2),
    ),
    roi_head=dict(
        type='RankStandardRoIHead',
        bbox_head=dict(
            type='RankShared2FCBBoxHead',
            reg_decoded_bbox=True,
            loss_cls=dict(_delete_=True, type='RankSortLoss', delta=0.5),
            loss_bbox=dict(_delete_=True, type='GIoULoss', loss_weight=1.0),
        ),
    ),
    # Without sampling: all anchors; every proposal and the objects' own boxes.
    train_cfg=dict(
        rpn=dict(sampler=dict(_delete_=True, type='PseudoSampler')),
        rpn_proposal=dict(max_per_img=1000),
        rcnn=dict(sampler=dict(_delete_=True, type='EveryProposalSampler')),
    ),
)
