"""Ranking losses and the LRP Error for MMDetection 3.x.

Importing the package does nothing. ``mmdet_rank.ops`` needs PyTorch alone,
``mmdet_rank.evaluation`` NumPy and pycocotools alone. Importing ``mmdet_rank.register`` registers
every loss, head, hook and metric with MMDetection; in a config:

    custom_imports = dict(imports=["mmdet_rank.register"], allow_failed_imports=False)
"""

from mmdet_rank.version import __version__

__all__ = ["__version__"]
