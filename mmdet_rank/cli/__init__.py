"""What the command-line tools share: errors, configs, launching, checkpoints, data checks."""

import mmdet_rank.register  # noqa: F401  a config of stock parts may name a metric of the package
