"""Ranking losses and the LRP Error for MMDetection 3.x.

Importing the package checks the installed stack, puts stand-ins in the place of mmcv's compiled
operators where those are missing, and registers every loss, head, hook, data set and metric with
MMDetection. In a config:

    custom_imports = dict(imports=["mmdet_rank"], allow_failed_imports=False)

`mmdet_rank.ops` and `mmdet_rank.evaluation.lrp` need no MMDetection. Where it is not installed,
importing the package registers nothing, and importing a part that needs it says so.
"""

from mmdet_rank import compat, registration
from mmdet_rank.version import __version__

__all__ = ["__version__"]

if not compat.mmdet_installed():
    registration.refuse_parts()
elif not registration.being_checked():
    registration.register()
