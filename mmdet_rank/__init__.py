"""Ranking losses and the LRP Error for MMDetection 3.x.

Importing the package checks the installed stack, puts stand-ins in the place of mmcv's compiled
operators where those are missing, and registers every loss, head, hook, data set and metric with
MMDetection. In a config:

    custom_imports = dict(imports=["mmdet_rank"], allow_failed_imports=False)

`mmdet_rank.ops` and `mmdet_rank.evaluation.lrp` need no MMDetection. Where it is not installed,
importing the package registers nothing, and importing a part that needs it says so.
"""

from mmdet_rank import compat
from mmdet_rank.version import __version__

__all__ = ["__version__"]

if compat.mmdet_installed():
    compat.check_stack()

    from mmdet_rank import mmcv_ops

    mmcv_ops.install()

    from mmdet_rank import (  # noqa: F401  (imported for what they register)
        criteria,
        datasets,
        engine,
        losses,
        models,
        visualization,
    )
else:
    from mmdet_rank import _without_mmdet

    _without_mmdet.install()
