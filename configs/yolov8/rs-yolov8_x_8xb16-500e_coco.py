_base_ = './yolov8_x_8xb16-500e_coco.py'

model = dict(
    bbox_head=dict(
        type='RankYOLOv8Head',
        loss_cls=dict(_delete_=True, type='RankSortLoss', delta=0.5),
    )
)
