# DINO on ./deformable-detr_r18.py: two-stage, with denoising queries.
_base_ = './deformable-detr_r18.py'

model = dict(
    type='DINO',
    as_two_stage=True,
    encoder=dict(layer_cfg=dict(self_attn_cfg=dict(dropout=0.0))),
    decoder=dict(layer_cfg=dict(cross_attn_cfg=dict(dropout=0.0))),
    positional_encoding=dict(offset=0.0, temperature=20),
    bbox_head=dict(type='DINOHead', loss_cls=dict(loss_weight=1.0)),
    dn_cfg=dict(
        label_noise_scale=0.5,
        box_noise_scale=1.0,
        group_cfg=dict(dynamic=True, num_groups=None, num_dn_queries=30),
    ),
)
