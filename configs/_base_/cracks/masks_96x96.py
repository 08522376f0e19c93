# A folder of images and one of masks, scaled to 96 x 96, a quarter kept for validation.
#   --cfg-options data_root=FOLDER
# reads another one; see docs/cracks.md for other layouts.
data_root = 'data/cracks/'
dataset = dict(type='MaskFolderDataset', data_root=data_root)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadMask'),
    dict(type='Resize', scale=(96, 96), keep_ratio=False),
    dict(type='CrackAugmentation'),
    dict(type='PackSegInputs'),
]
# The mask is loaded after scaling: figures are of the image's own size.
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(96, 96), keep_ratio=False),
    dict(type='LoadMask'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    batch_size=16,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(**dataset, split='train', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**dataset, split='val', pipeline=test_pipeline, test_mode=True),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='PixelMetric')
test_evaluator = val_evaluator
