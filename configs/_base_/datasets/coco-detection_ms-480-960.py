# COCO at shorter sides of 480 to 960 in steps of 80.
_base_ = './coco-detection_lrp.py'

train_pipeline = _base_.train_pipeline
train_pipeline[2] = dict(
    type='RandomChoiceResize',
    scales=[(1333, side) for side in range(480, 961, 80)],
    keep_ratio=True,
)

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
