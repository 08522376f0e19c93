"""Training a detector from a config: what `mmdet-rank train` does."""

from __future__ import annotations

import argparse
import logging

import mmdet_rank.register  # noqa: F401

import torch
from mmdet.engine.hooks import NumClassCheckHook
from mmdet.registry import RUNNERS
from mmdet.utils import setup_cache_size_limit_of_dynamo
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.runner import Runner

from mmdet_rank.annotations import forget_files
from mmdet_rank.cli import checkpoints, datasets, running
from mmdet_rank.cli.class_order import order_classes
from mmdet_rank.cli.config import load_config, require
from mmdet_rank.cli.errors import UserError, explained
from mmdet_rank.cli.evaluators import check_save_best
from mmdet_rank.cli.launch import (
    end_processes,
    prepare_processes,
    warn_of_batch_size,
    warn_of_processes,
)
from mmdet_rank.engine.resumable_runner import ResumableRunner
from mmdet_rank.engine.wrapped import unwrapped

ADDED_HOOKS = (  # the first found from any scope
    "mmdet.IterationSeedHook",
    "mmdet.MissedValidationHook",
    "PositivesHook",
)


def train(args: argparse.Namespace) -> None:
    """Train.

    Args:
        args: The arguments of ``mmdet-rank train``.

    Raises:
        UserError: The config, the data or a checkpoint does not allow it.
    """
    setup_cache_size_limit_of_dynamo()
    cfg = load_config(args)
    require(cfg, ("model", "train_dataloader", "train_cfg", "optim_wrapper"), args.config)
    if args.amp:
        enable_amp(cfg)
    if args.auto_scale_lr:
        enable_auto_scale_lr(cfg)
    checkpoints.use_safe_loading(args.trust_checkpoint)
    start = select_start(cfg, args.resume, trust=args.trust_checkpoint)
    make_resumable(cfg, args.cfg_options or {})
    order_classes(cfg)
    check_save_best(cfg)
    prepare_processes(cfg, args.local_rank)
    runner = None
    try:
        runner = build_runner(cfg)
        warn_of_batch_size(cfg)
        if start is not None:
            checkpoints.check_fits(unwrapped(runner), start, cfg.load_from)
            warn_of_processes(start)
        elif cfg.get("load_from"):
            checkpoints.warn_of_poor_fit(
                unwrapped(runner), cfg.load_from, trust=args.trust_checkpoint
            )
        del start
        with running.training(runner):
            runner.train()
    finally:
        del runner  # before its processes end
        end_processes()


def enable_amp(cfg: Config) -> None:
    """Train with mixed precision: float16 with a dynamic loss scale, or bfloat16 on a CPU."""
    if torch.cuda.is_available():
        cfg.optim_wrapper.type = "AmpOptimWrapper"
        cfg.optim_wrapper.loss_scale = "dynamic"
    else:
        cfg.optim_wrapper.type = "mmdet.BFloat16OptimWrapper"
        for key in ("loss_scale", "dtype", "use_fsdp"):
            cfg.optim_wrapper.pop(key, None)


def enable_auto_scale_lr(cfg: Config) -> None:
    """Scale the learning rate to the total batch.

    Raises:
        UserError: The config does not say which batch its learning rate is for.
    """
    if "base_batch_size" not in (cfg.get("auto_scale_lr") or {}):
        raise UserError(
            "Expected auto_scale_lr.base_batch_size in the config for --auto-scale-lr, but there "
            "is none; add auto_scale_lr=dict(base_batch_size=N), N being the total batch that the "
            "learning rate is for"
        )
    cfg.auto_scale_lr.enable = True


def select_start(cfg: Config, resume: str | None, *, trust: bool) -> dict | None:
    """Decide where training starts, and give the config of a resumed run the seed of that run.

    MMEngine takes the seed over too, but only after the samplers have been built with another.

    Args:
        cfg: The config; `resume`, `load_from` and the seed are set.
        resume: Path of a checkpoint, "auto" for the latest in the work folder, None for a new run.
        trust: Whether to unpickle a checkpoint that holds more than weights.

    Returns:
        The checkpoint that training goes on from, None for a new run.

    Raises:
        UserError: The checkpoint does not exist, is broken, or holds no state of training.
    """
    if resume is None and not cfg.get("resume", False):
        return None
    path = resume if resume not in (None, "auto") else None
    if path is None and resume is None:
        path = cfg.get("load_from")
    if path is None:
        path = checkpoints.find_latest(cfg.work_dir)
        if path is None:
            print_log(
                f"There is no checkpoint in {cfg.work_dir} to resume from: training starts anew.",
                logger="current",
                level=logging.WARNING,
            )
            cfg.resume = False
            return None
    checkpoint = checkpoints.read_checkpoint(path, trust=trust)
    meta = checkpoint.get("meta", {})
    if "optimizer" not in checkpoint or "iter" not in meta:
        raise UserError(
            f"Expected a checkpoint with the state of training, but {path} has weights alone; "
            f"to start a new training from them, do: --cfg-options load_from={path}"
        )
    cfg.resume = True
    cfg.load_from = path
    if meta.get("seed") is not None:
        cfg.setdefault("randomness", {})["seed"] = meta["seed"]
    return checkpoint


def make_resumable(cfg: Config, cfg_options: dict) -> None:
    """Set what a run needs so that it can be killed at any moment and continued exactly.

    A hook that warns of epochs without positives is set too.

    Args:
        cfg: The config.
        cfg_options: What the user set on the command line, which is left alone.
    """
    for kind in ADDED_HOOKS:
        hooks = cfg.get("custom_hooks") or []
        if not any(hook.get("type") in (kind, kind.rpartition(".")[2]) for hook in hooks):
            cfg.custom_hooks = [*hooks, {"type": kind}]

    # Workers that outlive an epoch carry random states that no checkpoint has.
    by_epoch = cfg.train_cfg.get("by_epoch", False) or "max_epochs" in cfg.train_cfg
    key = "train_dataloader.persistent_workers"
    if by_epoch and cfg.train_dataloader.get("persistent_workers") and key not in cfg_options:
        cfg.train_dataloader.persistent_workers = False

    # The oldest checkpoint is removed before the new one is written.
    checkpoint_hook = (cfg.get("default_hooks") or {}).get("checkpoint") or {}
    key = "default_hooks.checkpoint.max_keep_ckpts"
    if checkpoint_hook.get("max_keep_ckpts") == 1 and key not in cfg_options:
        checkpoint_hook["max_keep_ckpts"] = 2


def build_runner(cfg: Config) -> Runner:
    """Build the runner with its model, data and loops, and check that they belong together.

    Raises:
        UserError: Something cannot be built, or model and data do not fit.
    """
    splits = ["train", "val"]
    with explained("The config cannot be built"):
        custom = RUNNERS.build if "runner_type" in cfg else None
        runner = custom(cfg) if custom else ResumableRunner.from_cfg(cfg)
    datasets.check_files(cfg, splits)
    with explained("The data cannot be loaded", lambda: datasets.diagnose(cfg, splits)):
        train_loop = runner.train_loop
        val_loop = runner.val_loop
    datasets.check_built(train_loop.dataloader.dataset, "train")
    if val_loop is not None:
        datasets.check_built(val_loop.dataloader.dataset, "val")
    forget_files()
    if len(train_loop.dataloader) == 0:
        raise UserError(
            "Expected at least one batch of training images, but train_dataloader has "
            f"{len(train_loop.dataloader.dataset)} images, batch_size "
            f"{cfg.train_dataloader.get('batch_size', 1)} and drop_last=True, which drops what "
            "fills no batch; lower batch_size, or set drop_last=False"
        )
    with explained("Model and data have different classes; set num_classes of the heads"):
        NumClassCheckHook().before_train_epoch(runner)
    return runner
