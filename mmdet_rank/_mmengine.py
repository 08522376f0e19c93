"""What the package uses of MMEngine beyond its documented interface, in one place.

Seen with onedl-mmengine 0.10.12; `tests/test_env/test_private_names.py` says what to look at when
another version differs.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE

NAME = "mmdet_rank"
PREFIX = f"{NAME}::"
#: Configs as MMEngine looks for them in a package.
CONFIGS = Path(__file__).parent / ".mim" / "configs"


def package_config(name: str) -> Path:
    """Return the path of a config that comes with this package, whether it exists or not.

    Args:
        name: ``mmdet_rank::FOLDER/FILE.py``, as MMEngine names configs of packages.

    Example:
        >>> package_config("mmdet_rank::rank_sort/rs-atss_r50_fpn_4xb4-1x_coco.py").is_file()
        True
    """
    return CONFIGS / name.removeprefix(PREFIX)


def resolve_configs() -> None:
    """Let ``mmdet_rank::FOLDER/FILE.py`` name a config wherever MMEngine takes one.

    MMEngine knows the packages of OpenMMLab by a table. An entry there serves ``_base_`` and
    ``mmengine.hub.get_config``. ``Config.fromfile``, which MMDetection's ``init_detector`` calls
    too, resolves no package's names, not even those of the table, so it is extended by these.
    """
    MODULE2PACKAGE.setdefault(NAME, NAME)
    original = Config.fromfile
    if hasattr(original, "__wrapped__"):
        return

    @functools.wraps(original)
    def fromfile(filename: str | Path, *args: Any, **kwargs: Any) -> Config:
        if isinstance(filename, str) and filename.startswith(PREFIX):
            filename = package_config(filename)
        return original(filename, *args, **kwargs)

    Config.fromfile = staticmethod(fromfile)  # type: ignore[method-assign]
