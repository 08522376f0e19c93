_base_ = './cascade-rcnn_r18_fpn_digits.py'

model = dict(
    rpn_head=dict(
        type='RankRPNHead',
        bbox_coder=dict(target_stds=[0.1, 0.1, 0.2, 0.2]),
        reg_decoded_bbox=True,
        loss_cls=dict(_delete_=True, type='RankSortLoss'),
        loss_bbox=dict(_delete_=True, type='GIoULoss'),
        criterion=dict(loss_weight=0.2),
    ),
    # All three stages count alike.
    roi_head=dict(
        type='RankCascadeRoIHead',
        stage_loss_weights=[1, 1, 1],
        bbox_head=[
            dict(
                stage,
                type='RankShared2FCBBoxHead',
                bbox_coder=dict(stage.bbox_coder, target_stds=[0.1, 0.1, 0.2, 0.2]),
                reg_decoded_bbox=True,
                loss_cls=dict(type='RankSortLoss'),
                loss_bbox=dict(type='GIoULoss'),
            )
            for stage in _base_.model.roi_head.bbox_head
        ],
    ),
    # Without sampling: all anchors; every proposal and the objects' own boxes.
    train_cfg=dict(
        rpn=dict(sampler=dict(_delete_=True, type='PseudoSampler')),
        rcnn=[
            dict(stage, sampler=dict(type='EveryProposalSampler'))
            for stage in _base_.model.train_cfg.rcnn
        ],
    ),
)
