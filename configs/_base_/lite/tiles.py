# Defects of magnetic tiles: 392 photographs with masks, three fifths to train on.
#   git clone https://github.com/abin24/Magnetic-tile-defect-datasets. data/tiles/images
#   rm -r data/tiles/images/MT_Free
#   mmdet-rank convert-data data/tiles/images --out data/tiles --val-share 0.2 --test-share 0.2
_base_ = './detection.py'

data_root = 'data/tiles/'
metainfo = dict(classes=('MT_Blowhole', 'MT_Break', 'MT_Crack', 'MT_Fray', 'MT_Uneven'))

train_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        metainfo=metainfo,
        ann_file='annotations/train.json',
        data_prefix=dict(img='images/'),
    )
)
val_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        metainfo=metainfo,
        ann_file='annotations/val.json',
        data_prefix=dict(img='images/'),
    )
)
test_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        metainfo=metainfo,
        ann_file='annotations/test.json',
        data_prefix=dict(img='images/'),
    )
)
val_evaluator = dict(ann_file=data_root + 'annotations/val.json')
test_evaluator = dict(ann_file=data_root + 'annotations/test.json')
