"""Makes `mmcv._ext` importable where no compiled one is found."""

from __future__ import annotations

import importlib
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

from mmdet_rank.compat import StackError

EXTENSION = "mmcv._ext"
ORIGIN = "mmdet_rank.mmcv_ops"


class StandInLoader(Loader):
    """Fills the module `mmcv._ext` from the table of stand-ins."""

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave the making of the module object to Python."""
        return

    def exec_module(self, module: ModuleType) -> None:
        """Set each stand-in as a function of the module, and refuse all other operators."""
        # Imported here because torchvision is slow to import and needed only now.
        from mmdet_rank.mmcv_ops.table import STAND_INS, missing_operator

        vars(module).update(STAND_INS)
        module.__doc__ = "Stand-ins for mmcv's compiled operators, from mmdet_rank."
        vars(module)["__getattr__"] = missing_operator


class StandInFinder(MetaPathFinder):
    """Finds `mmcv._ext`, and nothing else.

    It stands last on `sys.meta_path`, so it is only asked when there is no compiled extension.
    """

    def find_spec(self, fullname, path=None, target=None) -> ModuleSpec | None:
        """Return the spec of the stand-in for `mmcv._ext`, None for every other name."""
        if fullname != EXTENSION:
            return None
        return ModuleSpec(fullname, StandInLoader(), origin=ORIGIN)


def install() -> None:
    """Make `mmcv._ext` importable; compiled operators win where they exist.

    Raises:
        StackError: There are compiled operators, but they do not load; or torchvision, whose
            kernels stand in for them, does not.
    """
    if not any(isinstance(finder, StandInFinder) for finder in sys.meta_path):
        sys.meta_path.append(StandInFinder())
    try:
        importlib.import_module(EXTENSION)
    except (ImportError, RuntimeError, OSError) as error:
        if "torchvision" in f"{getattr(error, 'name', None)} {error}":
            raise StackError(
                "Expected torchvision, whose kernels stand in for mmcv's compiled operators, but "
                f"it is missing, or made for another torch: {error}\nDo: pip install --upgrade "
                "torchvision, in the version that goes with the torch that is installed"
            ) from error
        raise StackError(
            "The compiled operators of mmcv do not load, most often because they were built for "
            f"another version of torch: {error}\n"
            "Do: reinstall mmcv for this torch, or install one without compiled operators and "
            "let mmdet_rank put torchvision's kernels in their place: "
            "pip install --no-cache-dir --force-reinstall --no-deps onedl-mmcv==2.3.6"
        ) from error


def is_stand_in() -> bool:
    """Tell whether the operators of mmcv are the stand-ins."""
    spec = getattr(sys.modules.get(EXTENSION), "__spec__", None)
    return spec is not None and spec.origin == ORIGIN
