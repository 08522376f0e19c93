# Cascade R-CNN with RS Loss in the RPN and all three stages, which count alike, and no sampler.
_base_ = 'mmdet::_base_/models/cascade-rcnn_r50_fpn.py'

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
        type='RankCascadeRoIHead',
        stage_loss_weights=[1, 1, 1],
        bbox_head=[
            dict(
                type='RankShared2FCBBoxHead',
                in_channels=256,
                fc_out_channels=1024,
                roi_feat_size=7,
                num_classes=80,
                bbox_coder=dict(
                    type='DeltaXYWHBBoxCoder',
                    target_means=[0.0, 0.0, 0.0, 0.0],
                    target_stds=[0.1, 0.1, 0.2, 0.2],
                ),
                reg_class_agnostic=True,
                reg_decoded_bbox=True,
                loss_cls=dict(type='RankSortLoss', delta=0.5),
                loss_bbox=dict(type='GIoULoss', loss_weight=1.0),
            )
            for _ in range(3)
        ],
    ),
    # Without sampling: all anchors; every proposal and the objects' own boxes.
    train_cfg=dict(
        rpn=dict(sampler=dict(_delete_=True, type='PseudoSampler')),
        # 1,000 as in the published config; the thesis (8.5.1.1) speaks of 2,000.
        rpn_proposal=dict(nms_pre=2000, max_per_img=1000),
        rcnn=[
            dict(
                assigner=dict(
                    type='MaxIoUAssigner',
                    pos_iou_thr=iou,
                    neg_iou_thr=iou,
                    min_pos_iou=iou,
                    match_low_quality=False,
                    ignore_iof_thr=-1,
                ),
                sampler=dict(type='EveryProposalSampler'),
                pos_weight=-1,
                debug=False,
            )
            for iou in (0.5, 0.6, 0.7)
        ],
    ),
)
