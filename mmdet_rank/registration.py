"""What `import mmdet_rank` does: registers the package with MMDetection, where there is one.

The losses as functions (`mmdet_rank.ops`) and the LRP Error (`mmdet_rank.evaluation`) are useful
without MMDetection, so the package must import there too. A part that needs MMDetection then
fails when it is imported itself, with a message that says what to install instead of
`No module named 'mmdet'`.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from importlib.abc import MetaPathFinder
from itertools import pairwise

from mmdet_rank import compat

PARTS = (
    "mmdet_rank.losses",
    "mmdet_rank.criteria",
    "mmdet_rank.models",
    "mmdet_rank.evaluation.metrics",
    "mmdet_rank.engine",
    "mmdet_rank.datasets",
    "mmdet_rank.visualization",
)
NEED_MMDET = (
    "mmdet_rank.losses",
    "mmdet_rank.models",
    "mmdet_rank.evaluation.metrics",
    "mmdet_rank.engine",
)


def register() -> None:
    """Check the stack, stand in for missing operators of mmcv, and register every part.

    Raises:
        ImportError: A package of the stack is missing or of a wrong version, or compiled
            operators of mmcv do not load.
    """
    compat.check_stack()

    from mmdet_rank import mmcv_ops

    mmcv_ops.install()
    with warnings.catch_warnings():
        # An optional metric of MMDetection, which nothing here uses, asks for its package.
        warnings.filterwarnings("ignore", message="faster_coco_eval is not installed")
        for part in PARTS:
            importlib.import_module(part)


class NeedsMMDetection(MetaPathFinder):
    """Finder that finds nothing, and refuses the parts of the package that need MMDetection."""

    def find_spec(self, fullname, path=None, target=None):
        """Raise for a part that needs MMDetection, leave every other import alone.

        Raises:
            ImportError: `fullname` is such a part.
        """
        if fullname in NEED_MMDET:
            problems = "\n".join(compat.find_problems())
            raise ImportError(f"{fullname} needs MMDetection.\n{problems}", name=fullname)


def refuse_parts() -> None:
    """Put the refusing finder before the ordinary ones, once."""
    if not any(isinstance(finder, NeedsMMDetection) for finder in sys.meta_path):
        sys.meta_path.insert(0, NeedsMMDetection())


def being_checked() -> bool:
    """Tell whether this is `python -m mmdet_rank.check_env`.

    Python imports the package before the module that it was asked to run, and a check must be
    able to say what is wrong with an environment in which the package does not import.
    """
    arguments = sys.orig_argv
    return any(pair == ("-m", "mmdet_rank.check_env") for pair in pairwise(arguments))
