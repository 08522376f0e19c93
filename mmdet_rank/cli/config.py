"""Reading a config: from the file and the command line, refusing what MMDetection 3 ignores."""

from __future__ import annotations

import argparse
import difflib
from pathlib import Path
from typing import Any

import mmdet_rank.register  # noqa: F401

from mmengine.config import Config

from mmdet_rank._mmengine import PREFIX, package_config
from mmdet_rank.cli.errors import UserError, explained

REMOVED_KEYS = {
    "optimizer": "optim_wrapper=dict(type='OptimWrapper', optimizer=dict(...))",
    "optimizer_config": "optim_wrapper=dict(clip_grad=...)",
    "lr_config": "param_scheduler=[...]",
    "runner": "train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=...)",
    "total_epochs": "train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=...)",
    "data": "train_dataloader, val_dataloader and test_dataloader",
    "evaluation": "val_evaluator, and val_interval in train_cfg",
    "checkpoint_config": "default_hooks=dict(checkpoint=dict(type='CheckpointHook', ...))",
    "log_config": "default_hooks=dict(logger=...) and visualizer",
    "fp16": "--amp, or optim_wrapper=dict(type='AmpOptimWrapper')",
    "workflow": "train_cfg, val_cfg and test_cfg",
}
MODEL_KEYS = ("rpn", "rpn_proposal", "rcnn", "assigner", "sampler", "nms", "score_thr")


def load_config(args: argparse.Namespace) -> Config:
    """Read the config of a subcommand and apply its arguments.

    Args:
        args: With those of `mmdet_rank.cli.arguments.add_run_arguments`, and `config`.

    Returns:
        The config, with `work_dir`, `launcher` and `default_scope` set.

    Raises:
        UserError: The file is missing or broken, or uses keys of MMDetection 2.
    """
    path = find_config(args.config)
    with explained(f"The config {args.config} cannot be read"):
        cfg = Config.fromfile(path)
    if args.cfg_options is not None:
        with explained("--cfg-options do not fit the config"):
            data_root = cfg.get("data_root")
            if data_root and "data_root" in args.cfg_options:
                # First, for paths that are given by themselves are meant as they are.
                move_data(cfg, data_root, str(args.cfg_options["data_root"]))
            cfg.merge_from_dict(args.cfg_options)
    refuse_old_keys(cfg, args.config)
    cfg.launcher = args.launcher
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get("work_dir") is None:
        cfg.work_dir = str(Path("work_dirs", path.stem))
    if cfg.get("default_scope") is None:
        cfg.default_scope = "mmdet"
    return cfg


def move_data(cfg: Config, old: str, new: str) -> None:
    """Let data sets and metrics read from another folder than the config's ``data_root``.

    A config copies its ``data_root`` into every path when it is read, so that setting it afterwards
    would change nothing.

    Args:
        cfg: The config; paths of data loaders and evaluators that begin with ``old`` are changed.
        old: The folder that they begin with.
        new: The folder that takes its place.
    """

    def moved(node: Any) -> Any:
        if isinstance(node, dict):
            for key, value in node.items():
                node[key] = moved(value)
        elif isinstance(node, (list, tuple)):
            return type(node)(moved(value) for value in node)
        elif isinstance(node, str) and node.startswith(old):
            rest = node[len(old) :].lstrip("/")
            return f"{new.rstrip('/')}/{rest}"
        return node

    for split in ("train", "val", "test"):
        for kind in ("dataloader", "evaluator"):
            if cfg.get(f"{split}_{kind}"):
                cfg[f"{split}_{kind}"] = moved(cfg[f"{split}_{kind}"])


def find_config(name: str) -> Path:
    """Find a config file.

    Args:
        name: Its path, or ``mmdet_rank::FOLDER/FILE`` for a config that comes with this package.

    Raises:
        UserError: There is no such file.
    """
    path = package_config(name) if name.startswith(PREFIX) else Path(name)
    if path.is_file():
        return path
    looked = "" if path.is_absolute() else f" (looked from {Path.cwd()})"
    raise UserError(f"Expected a config file, but {name} does not exist{looked}{_suggest(path)}")


def require(cfg: Config, keys: tuple[str, ...], name: str) -> None:
    """Refuse a config that lacks what a run needs, such as one of ``configs/_base_``.

    Args:
        cfg: The config.
        keys: What the run needs.
        name: What to call the config in the message.

    Raises:
        UserError: One of the keys is missing.
    """
    lacking = [key for key in keys if cfg.get(key) is None]
    if lacking:
        raise UserError(
            f"Expected a whole config, but {name} has no {', '.join(lacking)}; give one that "
            "inherits a model, a data set, a schedule and a runtime (those in a folder _base_ are "
            "parts)"
        )


def refuse_old_keys(cfg: Config, name: str) -> None:
    """Refuse keys of MMDetection 2, which MMDetection 3 ignores or fails on far away.

    Args:
        cfg: The config.
        name: What to call it in the message.

    Raises:
        UserError: There are such keys; the message names what takes their place.
    """
    found = [f"{key}= is now {new}" for key, new in REMOVED_KEYS.items() if key in cfg]
    for key in ("train_cfg", "test_cfg"):
        inside = [name for name in MODEL_KEYS if name in (cfg.get(key) or {})]
        if inside:
            found.append(
                f"top-level {key}=dict({'=..., '.join(inside)}=...) is now model.{key}; the "
                f"top-level {key} configures the loop"
            )
    model = cfg.get("model") or {}
    if model.get("pretrained") is not None:
        found.append(
            "model.pretrained= is now "
            "model.backbone.init_cfg=dict(type='Pretrained', checkpoint=...)"
        )
    if found:
        listed = "\n".join(f"  {line}" for line in found)
        raise UserError(
            f"Expected a config of MMDetection 3, but {name} has keys of MMDetection 2, which "
            f"would be ignored:\n{listed}"
        )


def _suggest(path: Path) -> str:
    """Name a config whose name comes close, in the folder given or anywhere below its parent."""
    folder = path.parent
    while not folder.is_dir():
        folder = folder.parent
    if folder in (Path("."), Path("/")):
        return ""
    configs = {found.name: found for found in folder.rglob("*.py")}
    close = difflib.get_close_matches(path.name, configs, n=1)
    return f"; do you mean {configs[close[0]]}?" if close else ""
