_base_ = [
    '../_base_/cracks/unet-s.py',
    '../_base_/cracks/masks_96x96.py',
    '../_base_/cracks/schedule_1k.py',
    '../_base_/cracks/runtime.py',
]
