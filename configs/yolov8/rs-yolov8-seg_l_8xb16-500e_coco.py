_base_ = './yolov8-seg_l_8xb16-500e_coco.py'

model = dict(
    bbox_head=dict(
        type='RankYOLOv8SegHead',
        loss_cls=dict(_delete_=True, type='RankSortLoss', delta=0.5),
    ),
    mask_head=dict(type='RankYOLOv8Protonet'),
)
