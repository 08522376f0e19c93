_base_ = './yolov8_n_1xb16-1500i_bccd.py'

model = dict(
    bbox_head=dict(
        type='RankYOLOv8Head',
        loss_cls=dict(_delete_=True, type='RankSortLoss', delta=0.5),
    )
)
