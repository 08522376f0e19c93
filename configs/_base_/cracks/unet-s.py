# A U-Net with a small encoder and the decoder of the crack paper: 2.5 million parameters.
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size_divisor=16,
        test_cfg=dict(size_divisor=16),
    ),
    backbone=dict(
        type='UNetEncoder',
        base_channels=16,
        num_stages=5,
        strides=(1, 1, 1, 1, 1),
        enc_num_convs=(2, 2, 2, 2, 2),
        dec_num_convs=(2, 2, 2, 2),
        downsamples=(True, True, True, True),
        enc_dilations=(1, 1, 1, 1, 1),
        dec_dilations=(1, 1, 1, 1),
        norm_cfg=norm_cfg,
    ),
    decode_head=dict(
        type='ResidualUNetHead',
        in_channels=[16, 32, 64, 128, 256],
        decoder_channels=[16, 32, 64, 128],
        norm_cfg=norm_cfg,
        num_classes=2,
        out_channels=1,
        threshold=0.5,
        loss_decode=dict(type='HybridFocalMarginLoss', margin=1.0),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
