_base_ = ['mmdet::_base_/default_runtime.py', '../rank_runtime.py']

default_hooks = dict(
    # Iterations count here, in the log of validation too.
    logger=dict(interval=20, log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=150, max_keep_ckpts=2),
)
log_processor = dict(by_epoch=False)
randomness = dict(seed=0)
