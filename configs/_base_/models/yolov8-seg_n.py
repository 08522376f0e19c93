# YOLOv8-n with prototypes and coefficients of masks.
_base_ = './yolov8_n.py'

model = dict(
    type='SingleStageInstanceSegmentor',
    data_preprocessor=dict(pad_mask=True),
    bbox_head=dict(type='YOLOv8SegHead', num_protos=32),
    mask_head=dict(
        type='YOLOv8Protonet',
        in_channels=64,
        feat_channels=64,
        num_protos=32,
        max_masks_to_train=None,
        norm_cfg={{_base_.norm_cfg}},
        act_cfg={{_base_.act_cfg}},
    ),
    test_cfg=dict(mask_thr=0.5, mask_thr_binary=0.5),
)
