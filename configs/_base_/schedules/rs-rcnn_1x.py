# MMDetection's 1x schedule at the learning rate of the R-CNNs with RS Loss, 4 GPUs x 4 images.
_base_ = 'mmdet::_base_/schedules/schedule_1x.py'

optim_wrapper = dict(optimizer=dict(lr=0.012))
auto_scale_lr = dict(enable=False, base_batch_size=16)
