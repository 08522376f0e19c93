# COCO with masks at shorter sides of 640 to 800 in steps of 32.
_base_ = './coco-instance_lrp.py'

train_pipeline = _base_.train_pipeline
train_pipeline[2] = dict(
    type='RandomChoiceResize',
    scales=[(1333, side) for side in range(640, 801, 32)],
    keep_ratio=True,
)

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
