"""The package's uses of MMEngine beyond its documented interface, in one place.

Seen with onedl-mmengine 0.10.12; `tests/test_env/test_private_names.py` says what to look at when
another version differs.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.runner import CheckpointLoader, Runner

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

    MMEngine knows OpenMMLab's packages by a table, and an entry there serves
    ``mmengine.hub.get_config``. But ``Config.fromfile``, which ``init_detector`` calls,
    resolves no package's names, and ``_base_`` would give whatever it inherits the scope of a
    registry of this package, which has none. So both are extended by these names.
    """
    MODULE2PACKAGE.setdefault(NAME, NAME)
    if hasattr(Config.fromfile, "__wrapped__"):
        return
    read, find_base = Config.fromfile, Config._get_cfg_path

    @functools.wraps(read)
    def fromfile(filename: str | Path, *args: Any, **kwargs: Any) -> Config:
        if isinstance(filename, str) and filename.startswith(PREFIX):
            filename = package_config(filename)
        return read(filename, *args, **kwargs)

    @functools.wraps(find_base)
    def _get_cfg_path(cfg_path: str, filename: str) -> tuple[str, str | None]:
        if cfg_path.startswith(PREFIX):
            return str(package_config(cfg_path)), None
        return find_base(cfg_path, filename)

    Config.fromfile = staticmethod(fromfile)
    Config._get_cfg_path = staticmethod(_get_cfg_path)


def read_checkpoints_by(load: Callable[[str, Any], dict]) -> None:
    """Have MMEngine read local checkpoints by a function, for the rest of this program.

    Which function reads files of which origin is a setting of its CheckpointLoader. One for local
    files is there already, so that this one has to be forced upon it.

    Args:
        load: Takes the path and ``map_location``.
    """
    CheckpointLoader.register_scheme(prefixes="", loader=load, force=True)


@contextlib.contextmanager
def of_the_last_iteration(runner: Runner) -> Iterator[None]:
    """Let a checkpoint that is saved inside be of the last iteration, and not of one more.

    MMEngine saves by iterations while one is running, which it counts as done.
    """
    runner.train_loop._iter -= 1
    try:
        yield
    finally:
        runner.train_loop._iter += 1
