"""Reading checkpoints: which one, whether it is whole, as weights only, and for this model."""

from __future__ import annotations

import codecs
import logging
import zipfile
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer, print_log
from torch import nn

from mmdet_rank._mmengine import read_checkpoints_by
from mmdet_rank._torch import allowed_globals, is_of_old_format
from mmdet_rank.cli.errors import UserError

NUM_EXAMPLES = 5
#: What to do about a file whose classes are elsewhere.
SAVE_TENSORS = (
    "save its tensors alone where its classes are installed: "
    "torch.save(model.state_dict(), 'tensors.pth')"
)


def use_safe_loading(trust: bool) -> None:
    """Have MMEngine read local checkpoints by `read_checkpoint`, for the rest of this program.

    MMEngine either unpickles whatever a file holds, which runs code from the file, or (0.10.7
    with torch 2.6 and later) cannot read its own checkpoints.

    Args:
        trust: Whether to unpickle files that hold more than weights.
    """

    def load(filename: str, map_location: Any) -> dict:
        return read_checkpoint(filename, map_location, trust=trust)

    read_checkpoints_by(load)


def read_checkpoint(filename: str, map_location: Any = "cpu", *, trust: bool = False) -> dict:
    """Read a checkpoint as weights: tensors, numbers, text, and MMEngine's histories of logs.

    Args:
        filename: Path of the file.
        map_location: As for `torch.load`.
        trust: Unpickle whatever else the file holds, which runs code from it.

    Returns:
        What was saved.

    Raises:
        UserError: The file is missing, broken, no checkpoint, or holds more than weights and
            `trust` is off.
    """
    checkpoint = _read(filename, map_location, trust=trust)
    if not isinstance(checkpoint, dict):
        raise UserError(
            f"Expected a checkpoint, a dict of weights, but {filename} holds a "
            f"{type(checkpoint).__name__}; take another"
        )
    if not trust and isinstance(checkpoint.get("meta"), dict):
        # Written by MMDetection 2. MMEngine's Runner runs it as Python when it resumes.
        checkpoint["meta"].pop("config", None)
    return checkpoint


def _read(filename: str, map_location: Any, *, trust: bool) -> Any:
    path = Path(filename).expanduser()
    if "://" in str(filename):
        raise UserError(
            f"Expected the path of a checkpoint, but got the address {filename}; download it, and "
            "give the path of the file"
        )
    if not path.is_file():
        raise UserError(f"Expected a checkpoint, but {filename} does not exist; check the path")
    try:
        with allowed_globals(_harmless_types()):
            return torch.load(path, map_location=map_location, weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError) as error:
        old_format = isinstance(error, UnpicklingError) and is_of_old_format(path)
        if not (_is_whole(path) or old_format):
            raise UserError(
                f"Expected a checkpoint, but {filename} is none, or not whole "
                f"({path.stat().st_size} bytes); take another, or copy it again"
            ) from error
        if not trust:
            raise UserError(
                f"Expected weights, but {filename} holds more, and reading that would run code "
                f"from the file: {_first_line(error)}\nIf you trust where it comes from, add "
                f"--trust-checkpoint; if it holds a whole model, {SAVE_TENSORS}"
            ) from error
    print_log(
        f"{filename} holds more than weights and is unpickled, as --trust-checkpoint allows.",
        logger="current",
        level=logging.WARNING,
    )
    try:
        return torch.load(path, map_location=map_location, weights_only=False)
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"Expected weights, but {filename} holds objects of classes that are not here: "
            f"{error}; {SAVE_TENSORS}"
        ) from error


def find_latest(work_dir: str) -> str | None:
    """Find the checkpoint that a run in `work_dir` wrote last and that is whole.

    Args:
        work_dir: Folder of the run.

    Returns:
        The one that the file `last_checkpoint` names, or else the newest whole one, or None.
    """
    folder = Path(work_dir)
    candidates = [path for path in folder.glob("*.pth") if not path.name.startswith("best_")]
    candidates.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    pointer = folder / "last_checkpoint"
    if pointer.is_file() and (named := pointer.read_text().strip()):
        # A work folder may have been moved or copied since: its own file goes first.
        candidates = [folder / Path(named).name, Path(named), *candidates]
    for path in candidates:
        if path.is_file() and _is_whole(path):
            return str(path)
    return None


def check_fits(model: nn.Module, checkpoint: dict, filename: str) -> None:
    """Refuse a checkpoint of another model, and mention what it has beyond this one.

    MMEngine loads whatever fits and logs the rest in a list among many lines, so that another
    model's checkpoint gives an untrained detector.

    Args:
        model: The model of the config, without a wrapper.
        checkpoint: What `read_checkpoint` returned.
        filename: What to call it in the message.

    Raises:
        UserError: A parameter or running statistic of the model is missing, or a shape differs.
    """
    saved = checkpoint.get("state_dict", checkpoint)
    saved = {key.removeprefix("module."): value for key, value in saved.items()}
    expected = model.state_dict()
    parameters = {name for name, _ in model.named_parameters()}
    missing = [
        name
        for name in expected
        if name not in saved
        and (name in parameters or name.endswith(("running_mean", "running_var")))
    ]
    differing = [
        f"{name}: {tuple(saved[name].shape)}, not {tuple(value.shape)}"
        for name, value in expected.items()
        if name in saved and saved[name].shape != value.shape
    ]
    unexpected = [name for name in saved if name not in expected]
    if missing or differing:
        lines = [
            f"Expected a checkpoint of this config's model, but {filename} differs from it in "
            f"{len(missing) + len(differing)} of {len(expected)} tensors:"
        ]
        lines += _examples("missing in the checkpoint", missing)
        lines += _examples("of another shape", differing)
        lines += _examples("unknown to the model", unexpected)
        lines.append("Do: give the config that it was trained with, or another checkpoint")
        raise UserError("\n".join(lines))
    if unexpected:
        print_log(
            "\n".join(_examples(f"{filename} has tensors unknown to the model", unexpected)),
            logger="current",
            level=logging.WARNING,
        )


def warn_of_poor_fit(model: nn.Module, filename: str, *, trust: bool = False) -> None:
    """Warn when weights to start from fit less than half of a model.

    MMEngine loads whatever fits without a word on how much that is.

    Args:
        model: The model of the config, without a wrapper.
        filename: ``load_from``; an address is left to MMEngine.
        trust: Unpickle whatever else the file holds, which runs code from it.

    Raises:
        UserError: The file is missing or no checkpoint.
    """
    if "://" in str(filename):
        return
    checkpoint = read_checkpoint(filename, trust=trust)
    saved = checkpoint.get("state_dict", checkpoint)
    saved = {key.removeprefix("module."): value for key, value in saved.items()}
    parameters = dict(model.named_parameters())
    fitting = [
        name
        for name, value in parameters.items()
        if getattr(saved.get(name), "shape", None) == value.shape
    ]
    if 2 * len(fitting) >= len(parameters):
        return
    lines = [
        f"load_from={filename} fits {len(fitting)} of {len(parameters)} parameters of the model; "
        "the others start at random. If that is not meant, check that it is a checkpoint of the "
        "same model."
    ]
    lines += _examples("missing or of another shape", [n for n in parameters if n not in fitting])
    lines += _examples("unknown to the model", [n for n in saved if n not in parameters])
    print_log("\n".join(lines), logger="current", level=logging.WARNING)


def _examples(what: str, names: list[str]) -> list[str]:
    if not names:
        return []
    more = f", and {len(names) - NUM_EXAMPLES} more" if len(names) > NUM_EXAMPLES else ""
    return [f"  {len(names)} {what}: {', '.join(names[:NUM_EXAMPLES])}{more}"]


def _harmless_types() -> list:
    """Types in MMEngine's checkpoints whose reading runs no code of the file's choice."""
    multiarray = getattr(np, "_core", None) or np.core
    dtypes = [getattr(np.dtypes, name) for name in np.dtypes.__all__]
    return [
        HistoryBuffer,
        _history_method,
        np.ndarray,
        np.dtype,
        multiarray.multiarray._reconstruct,
        multiarray.multiarray.scalar,
        codecs.encode,  # how bytes are pickled; newer torch allows it by itself
        *dtypes,
    ]


def _history_method(owner: type, name: str) -> Any:
    """Stand in for `getattr` while a history of logs is read, whose pickle names its methods."""
    if owner is not HistoryBuffer or name.startswith("_"):
        raise UnpicklingError(f"Unsupported use of global: getattr({owner}, {name!r})")
    return getattr(owner, name)


# torch looks up what a file may use by module and name.
_history_method.__module__ = "builtins"
_history_method.__name__ = _history_method.__qualname__ = "getattr"


def _is_whole(path: Path) -> bool:
    """Tell whether a file is a complete zip archive, as torch has saved since 1.6.

    The directory of an archive is its last part, so a file cut short does not have it.
    """
    return zipfile.is_zipfile(path)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    named = [line for line in lines if "GLOBAL" in line or "global" in line]
    return (named or lines or [type(error).__name__])[0]
