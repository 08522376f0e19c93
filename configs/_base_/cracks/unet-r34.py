# ResNet-34 as the encoder; its finest features are a quarter of the image's size, so that the two
# finest levels of the decoder have none to join.
_base_ = './unet-s.py'

model = dict(
    data_preprocessor=dict(size_divisor=32, test_cfg=dict(size_divisor=32)),
    backbone=dict(
        _delete_=True,
        type='ResNetV1c',
        depth=34,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        strides=(1, 2, 2, 2),
        dilations=(1, 1, 1, 1),
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=False,
        style='pytorch',
    ),
    decode_head=dict(in_channels=[64, 128, 256, 512], decoder_channels=[32, 64, 64, 128, 256]),
)
