# FoveaBox cut to the same budget as ./atss_r18_fpn.py.
_base_ = '../models/foveabox_r50_fpn.py'

model = dict(
    backbone=dict(depth=18, frozen_stages=-1, norm_eval=False, init_cfg=None),
    neck=dict(in_channels=[64, 128, 256, 512], out_channels=64, add_extra_convs=False, num_outs=3),
    bbox_head=dict(
        num_classes=10,
        in_channels=64,
        feat_channels=64,
        strides=[8, 16, 32],
        base_edge_list=[16, 32, 64],
        scale_ranges=((1, 48), (24, 96), (48, 512)),
    ),
    test_cfg=dict(score_thr=0.0),
)
