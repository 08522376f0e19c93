"""The weights that a training starts from: what is downloaded, what fits, what is new."""

from __future__ import annotations

import contextlib
import math
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import mmdet_rank._stack  # noqa: F401

import mmdet
import torch
import yaml
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from mmdet_rank.cli.checkpoints import read_checkpoint
from mmdet_rank.cli.errors import UserError
from mmdet_rank.files import write_json, written_whole

_MEGABYTE = 1_000_000
_FLOAT = 4
#: A checkpoint of which less fits is of another detector.
_ENOUGH = 0.5
_SHOWN = 8
#: That a server may take to answer.
_SECONDS = 30


@dataclass(frozen=True)
class Fit:
    """How the weights of a checkpoint fit a model.

    Attributes:
        taken: Weights that fit by name and shape, those of the classifier not among them.
        new: Names of the model's weights that stay random.
        unused: Names in the checkpoint that the model does not have, or has in another shape.
    """

    taken: dict[str, Tensor]
    new: list[str]
    unused: list[str]

    @property
    def share(self) -> float:
        """Part of the model's weights that are taken, by name."""
        return len(self.taken) / max(len(self.taken) + len(self.new), 1)

    def describe(self, source: str) -> str:
        """Sentences for the user."""
        lines = [f"From {source}: {len(self.taken)} weights are taken."]
        if self.new:
            lines.append(f"New, at random: {_some(self.new)}.")
        if self.unused:
            lines.append(f"Not taken from it: {_some(self.unused)}.")
        return "\n".join(lines)


def build(model: Mapping) -> nn.Module:
    """Build a model of MMDetection without pretrained weights."""
    init_default_scope("mmdet")
    return MODELS.build(ConfigDict(model))


def classifier_names(model: Mapping, more: Mapping) -> set[str]:
    """Names of the weights whose shape depends on the number of classes.

    Args:
        model: Config of the model.
        more: The same with another number of classes.
    """
    other = build(more).state_dict()
    return {name for name, w in build(model).state_dict().items() if w.shape != other[name].shape}


def fit_weights(
    model: Mapping, checkpoint: Mapping, classifier: set[str], *, same_classes: bool
) -> Fit:
    """Compare a checkpoint with a model, name by name.

    Args:
        model: Config of the model.
        checkpoint: What was saved.
        classifier: From `classifier_names`.
        same_classes: Whether the checkpoint was trained on the same classes, so that its
            classifier is taken too.
    """
    saved = checkpoint.get("state_dict", checkpoint)
    saved = {name.removeprefix("module."): weight for name, weight in saved.items()}
    expected = build(model).state_dict()
    taken = {
        name: saved[name]
        for name, weight in expected.items()
        if name in saved
        and saved[name].shape == weight.shape
        and (same_classes or name not in classifier)
    }
    return Fit(
        taken,
        [name for name in expected if name not in taken],
        [name for name in saved if name not in taken],
    )


def checkpoint_classes(checkpoint: Mapping) -> tuple[str, ...] | None:
    """Names of the classes that a checkpoint of MMDetection 3 was trained on, if it says so."""
    meta = (checkpoint.get("meta") or {}).get("dataset_meta") or {}
    classes = meta.get("classes")
    return tuple(classes) if classes is not None else None


def write_start(path: Path, fit: Fit) -> Path:
    """Save the weights that fit, for ``load_from``, and beside them what became of every name.

    Returns:
        The file of the names.
    """
    with written_whole(path) as temporary:
        torch.save({"state_dict": fit.taken, "meta": {}}, temporary)
    names = path.with_suffix(".json")
    write_json(names, {"taken": list(fit.taken), "new": fit.new, "not taken": fit.unused})
    return names


def check_enough(fit: Fit, filename: str, detector: str) -> None:
    """Refuse a checkpoint of another detector.

    Raises:
        UserError: Less than half of the model's weights are in it.
    """
    if fit.share < _ENOUGH:
        raise UserError(
            f"Expected a checkpoint of {detector}, but only {len(fit.taken)} of "
            f"{len(fit.taken) + len(fit.new)} weights fit {filename}; give one of the same "
            "detector and backbone (EfficientNet-Lite0, or ResNet-50 as MMDetection publishes it)"
        )


def published_weights(stock: str) -> str:
    """The address of MMDetection's weights for one of its configs, from its metafile.

    Args:
        stock: Such as ``atss/atss_r50_fpn_1x_coco.py``.

    Raises:
        UserError: MMDetection is installed without its metafiles.
    """
    folder = Path(mmdet.__file__).parent / ".mim" / "configs"
    metafile = folder / Path(stock).parent / "metafile.yml"
    if metafile.is_file():
        for entry in yaml.safe_load(metafile.read_text(encoding="utf-8"))["Models"]:
            if entry["Config"].endswith(stock) and "Weights" in entry:
                return entry["Weights"]
    raise UserError(
        f"Expected the address of MMDetection's weights for {stock}, but {metafile} has none; "
        "download a checkpoint, and give it by --base FILE"
    )


def download(address: str, model: Mapping) -> str:
    """Download a checkpoint, or find it among those downloaded before.

    Args:
        address: Of the checkpoint.
        model: Config of the model, which tells the size beforehand.

    Returns:
        The path of the file.

    Raises:
        UserError: It cannot be downloaded.
    """
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    file = folder / address.rpartition("/")[2]
    if file.is_file():
        print(f"Found {file}, downloaded before from {address}")
        return str(file)
    size = sum(p.numel() for p in build(model).parameters()) * _FLOAT
    print(
        f"Downloading about {math.ceil(size / _MEGABYTE)} MB from {address} to {file}", flush=True
    )
    try:
        with written_whole(file) as temporary, _patience():
            torch.hub.download_url_to_file(address, str(temporary))
            got = temporary.stat().st_size
            if got < size:
                raise ConnectionError(f"only {got:,} bytes came of {size:,} or more")
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise UserError(
            f"Expected to download {address}, but it does not come ({reason}); download it on "
            f"another machine and give it by --base FILE, or train from the backbone that is "
            "installed by --base imagenet"
        ) from error
    return str(file)


@contextlib.contextmanager
def _patience() -> Iterator[None]:
    """Do not wait forever for a server that does not answer."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def load_base(filename: str, *, trust: bool) -> dict:
    """Read the checkpoint that training starts from."""
    return read_checkpoint(filename, trust=trust)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
