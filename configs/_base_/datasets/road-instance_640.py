# Road assets to segment (REG 2.2), as `mmdet-rank convert-data` leaves one's own data in data/road:
# annotations/train.json, val.json and test.json; pictures by their names from there.
_base_ = './coco-instance_mosaic-640.py'

dataset = dict(
    data_root='data/road/',
    data_prefix=dict(img=''),
    metainfo=dict(
        classes=(
            'Pavilion',
            'Pedestrian Bridge',
            'Information Sign',
            'Warning Sign',
            'Concrete Guardrail',
        )
    ),
)

train_dataloader = dict(dataset=dict(**dataset, ann_file='annotations/train.json'))
val_dataloader = dict(dataset=dict(**dataset, ann_file='annotations/val.json'))
test_dataloader = dict(dataset=dict(**dataset, ann_file='annotations/test.json'))
val_evaluator = dict(ann_file='data/road/annotations/val.json')
test_evaluator = dict(ann_file='data/road/annotations/test.json')
