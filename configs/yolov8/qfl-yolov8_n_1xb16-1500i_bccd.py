# Quality Focal Loss on the soft targets; REGLoss without weights and distances is the same.
_base_ = './yolov8_n_1xb16-1500i_bccd.py'

model = dict(
    bbox_head=dict(
        loss_cls=dict(
            _delete_=True, type='QualityFocalLoss', use_sigmoid=True, beta=2.0, loss_weight=1.0
        )
    )
)
