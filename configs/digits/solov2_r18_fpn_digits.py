_base_ = [
    '../_base_/digits/solov2_r18_fpn.py',
    '../_base_/digits/digits_instance.py',
    '../_base_/digits/schedule.py',
    '../_base_/digits/runtime.py',
]

# SOLO predicts no boxes.
val_evaluator = dict(metric='segm')
test_evaluator = val_evaluator
