_base_ = ['../_base_/models/yolov8-seg_s.py', '../_base_/yolov8-seg_500e_coco.py']
