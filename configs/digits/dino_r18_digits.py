_base_ = [
    '../_base_/digits/dino_r18.py',
    '../_base_/digits/digits_detection.py',
    '../_base_/digits/schedule.py',
    '../_base_/digits/runtime.py',
]
