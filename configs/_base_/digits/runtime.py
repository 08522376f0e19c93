_base_ = 'mmdet::_base_/default_runtime.py'

custom_imports = dict(imports=['mmdet_rank.register'], allow_failed_imports=False)

default_hooks = dict(
    logger=dict(interval=20),
    checkpoint=dict(interval=1, max_keep_ckpts=2),
)
randomness = dict(seed=0)
