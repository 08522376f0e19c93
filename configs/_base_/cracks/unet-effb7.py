# EfficientNet-B7 with the U-Net decoder of segmentation-models-pytorch.
_base_ = './unet-s.py'

model = dict(
    data_preprocessor=dict(size_divisor=32, test_cfg=dict(size_divisor=32)),
    backbone=dict(_delete_=True, type='SMPUNet', encoder_name='efficientnet-b7'),
    decode_head=dict(
        _delete_=True,
        type='FCNHead',
        in_channels=16,
        in_index=0,
        channels=16,
        num_convs=0,
        concat_input=False,
        dropout_ratio=0.0,
        num_classes=2,
        out_channels=1,
        threshold=0.5,
        align_corners=False,
        loss_decode=dict(type='HybridFocalMarginLoss', margin=1.0),
    ),
)
