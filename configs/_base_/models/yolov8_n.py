# YOLOv8-n. Other sizes change the factors, the last stage's channels and what follows of them.
norm_cfg = dict(type='BN', momentum=0.03, eps=0.001)
act_cfg = dict(type='SiLU', inplace=True)  # or dict(type='LeakyReLU', negative_slope=0.1)

model = dict(
    type='SingleStageDetector',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[0.0, 0.0, 0.0],
        std=[255.0, 255.0, 255.0],
        bgr_to_rgb=True,
        pad_size_divisor=32,
    ),
    backbone=dict(
        type='YOLOv8CSPDarknet',
        deepen_factor=0.33,
        widen_factor=0.25,
        last_stage_out_channels=1024,
        norm_cfg=norm_cfg,
        act_cfg=act_cfg,
    ),
    neck=dict(
        type='YOLOv8PAFPN',
        in_channels=[64, 128, 256],
        num_csp_blocks=1,
        norm_cfg=norm_cfg,
        act_cfg=act_cfg,
    ),
    bbox_head=dict(
        type='YOLOv8Head',
        num_classes=80,
        in_channels=[64, 128, 256],
        strides=[8, 16, 32],
        reg_max=16,
        norm_cfg=norm_cfg,
        act_cfg=act_cfg,
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=0.5),
        loss_bbox=dict(type='CompleteIoULoss', loss_weight=7.5),
        # Summed over the four sides: 1.5 times their mean.
        loss_dfl=dict(type='DistributionFocalLoss', loss_weight=0.375),
    ),
    train_cfg=dict(assigner=dict(type='InsideTaskAlignedAssigner', topk=10), alpha=0.5, beta=6.0),
    test_cfg=dict(
        score_thr=0.001,
        nms_pre=30000,
        nms=dict(type='nms', iou_threshold=0.7),
        max_per_img=300,
    ),
)
