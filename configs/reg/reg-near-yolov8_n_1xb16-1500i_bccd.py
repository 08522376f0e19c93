# The spatial refinement by which places near to objects count more (A.4); no class weights.
_base_ = '../yolov8/yolov8_n_1xb16-1500i_bccd.py'

model = dict(
    bbox_head=dict(
        type='WithClassDistances',
        head='YOLOv8Head',
        loss_cls=dict(
            _delete_=True,
            type='REGLoss',
            use_sigmoid=True,
            beta=0.05,
            delta=32.0,
            near=True,
        ),
    )
)
