_base_ = ['../_base_/models/yolov8-seg_m.py', '../_base_/yolov8-seg_500e_coco.py']
