# An encoder like VGG-16's: 64 to 512 channels, two to three convolutions a stage.
_base_ = './unet-s.py'

model = dict(
    backbone=dict(base_channels=64, num_stages=4, strides=(1, 1, 1, 1), enc_num_convs=(2, 2, 3, 3),
                  dec_num_convs=(2, 2, 2), downsamples=(True, True, True),
                  enc_dilations=(1, 1, 1, 1), dec_dilations=(1, 1, 1)),
    decode_head=dict(in_channels=[64, 128, 256, 512], decoder_channels=[64, 128, 256]),
)  # fmt: skip
