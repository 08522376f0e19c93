# The runtime of a training by epochs: it resumes at the beginning of one, since a loop over epochs
# begins its data anew.
_base_ = './runtime.py'

default_hooks = dict(
    logger=dict(log_metric_by_epoch=True), checkpoint=dict(by_epoch=True, interval=10)
)
