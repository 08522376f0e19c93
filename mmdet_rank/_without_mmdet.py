"""What `import mmdet_rank` does where MMDetection is not installed.

The losses as functions and the LRP Error are useful there, so the package must import. A part
that needs MMDetection then fails when it is imported, with a message that says what to install
instead of `No module named 'mmdet'`.
"""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder

from mmdet_rank import compat

NEEDS_MMDET = (
    "mmdet_rank.losses",
    "mmdet_rank.models",
    "mmdet_rank.evaluation.metrics",
    "mmdet_rank.engine",
    "mmdet_rank.datasets",
)


class NeedsMMDetection(MetaPathFinder):
    """Finder that finds nothing, and refuses the parts of the package that need MMDetection."""

    def find_spec(self, fullname, path=None, target=None):
        """Raise for a part that needs MMDetection, leave every other import alone.

        Raises:
            ImportError: `fullname` is such a part.
        """
        if fullname in NEEDS_MMDET:
            problems = "\n".join(compat.find_problems())
            raise ImportError(f"{fullname} needs MMDetection.\n{problems}", name=fullname)


def install() -> None:
    """Put the finder before the ordinary ones, once."""
    if not any(isinstance(finder, NeedsMMDetection) for finder in sys.meta_path):
        sys.meta_path.insert(0, NeedsMMDetection())
