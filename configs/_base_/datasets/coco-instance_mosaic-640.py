# COCO with masks in mosaics of 640 x 640, in batches of 16 images per GPU. Of MMDetection's mosaics
# only the cached one knows of masks: it takes three of its four images from the last forty.
_base_ = 'mmdet::_base_/datasets/coco_instance.py'

img_scale = (640, 640)
pad_val = dict(img=(114.0, 114.0, 114.0))

load_pipeline = [
    dict(type='LoadImageFromFile', backend_args={{_base_.backend_args}}),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True, poly2mask=False),
]
finish_pipeline = [
    dict(type='RandomCrop', crop_size=img_scale, recompute_bbox=True, allow_negative_crop=True),
    dict(type='YOLOXHSVRandomAug'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='Pad', size=img_scale, pad_val=pad_val),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1, 1), keep_empty=False),
    dict(type='PackDetInputs'),
]
train_pipeline = [
    *load_pipeline,
    dict(type='CachedMosaic', img_scale=img_scale, pad_val=114.0),
    # A mosaic is twice as wide and high as an image.
    dict(type='RandomResize', scale=(1280, 1280), ratio_range=(0.5, 1.5), keep_ratio=True),
    *finish_pipeline,
]
train_pipeline_without_mosaics = [
    *load_pipeline,
    dict(type='RandomResize', scale=img_scale, ratio_range=(0.5, 1.5), keep_ratio=True),
    *finish_pipeline,
]
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args={{_base_.backend_args}}),
    dict(type='Resize', scale=img_scale, keep_ratio=True),
    dict(type='Pad', size=img_scale, pad_val=pad_val),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
    ),
]

train_dataloader = dict(batch_size=16, num_workers=8, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=16, num_workers=4, dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(batch_size=16, num_workers=4, dataset=dict(pipeline=test_pipeline))
val_evaluator = dict(type='CocoLRPMetric')
test_evaluator = val_evaluator
