_base_ = './yolact_r18_fpn_digits.py'

model = dict(
    bbox_head=dict(
        type='RankYOLACTHead',
        use_ohem=False,
        loss_cls=dict(_delete_=True, type='RankSortLoss'),
        loss_bbox=dict(_delete_=True, type='GIoULoss'),
    ),
    mask_head=dict(
        type='RankYOLACTProtonet',
        with_seg_branch=False,
        loss_segm=None,
        loss_mask_weight=None,
        max_masks_to_train=None,
    ),
    train_cfg=dict(sampler=None, neg_pos_ratio=None),
)
