# FPN with lightweight upsampling, for `neck={{_base_.fpn_carafe}}`.
fpn_carafe = dict(
    type='FPN_CARAFE',
    start_level=0,
    end_level=-1,
    norm_cfg=None,
    act_cfg=None,
    order=('conv', 'norm', 'act'),
    upsample_cfg=dict(
        type='carafe',
        up_kernel=5,
        up_group=1,
        encoder_kernel=3,
        encoder_dilation=1,
        compressed_channels=64,
    ),
)
