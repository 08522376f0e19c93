_base_ = './yolov8_l_8xb16-500e_coco.py'

model = dict(
    bbox_head=dict(
        type='RankYOLOv8Head',
        loss_cls=dict(_delete_=True, type='RankSortLoss', delta=0.5),
    )
)
