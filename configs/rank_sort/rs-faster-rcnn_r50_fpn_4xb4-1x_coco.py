_base_ = [
    '../_base_/models/rs-faster-rcnn_r50_fpn.py',
    '../_base_/datasets/coco-detection_lrp.py',
    '../_base_/schedules/rs-rcnn_1x.py',
    'mmdet::_base_/default_runtime.py',
    '../_base_/rank_runtime.py',
]
