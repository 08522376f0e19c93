"""Prepares MMDetection for use; every part of the package that needs it imports this first.

Importing the module checks the versions of the stack and stands in for mmcv's compiled operators
where those are missing, without which MMDetection itself may not import.

Raises:
    ImportError: A package of the stack is missing or of a wrong version, or compiled operators of
        mmcv do not load. The message names each with the command that mends it.
"""

import contextlib
import io
import sys
from collections.abc import Iterator

from mmdet_rank import compat

compat.check_stack()

# The stand-ins import torch, whose absence the check tells of.
from mmdet_rank import mmcv_ops  # noqa: E402

mmcv_ops.install()


@contextlib.contextmanager
def without_onedl() -> Iterator[None]:
    """Leave out of what imports print that OneDL, an optional package, is not installed.

    The onedl builds of MMDetection and MMSegmentation mean to log it for debugging, but print it.
    """
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            yield
    finally:
        lines = printed.getvalue().splitlines(keepends=True)
        sys.stdout.writelines(line for line in lines if "OneDL" not in line)
