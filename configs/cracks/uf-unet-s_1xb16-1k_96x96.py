_base_ = './hfm-unet-s_1xb16-1k_96x96.py'

model = dict(decode_head=dict(loss_decode=dict(_delete_=True, type='UnifiedFocalLoss')))
