"""Several processes, with GPUs or without."""

from __future__ import annotations

import gc
import logging
import os

import torch
from mmengine.config import Config
from mmengine.dist import get_world_size
from mmengine.logging import print_log

from mmdet_rank.cli.errors import UserError


def prepare_processes(cfg: Config, local_rank: int) -> None:
    """Join the process group, in a way that also works without GPUs.

    MMEngine selects a GPU while it joins the group and gives the model's wrapper a GPU, both of
    which fail on a machine without; there this joins the group itself, over gloo, and configures
    the wrapper without devices.

    Args:
        cfg: The config; `env_cfg` and `model_wrapper_cfg` are set on a machine without GPUs.
        local_rank: Number of this process on this machine, where the launcher did not say so by
            the environment.

    Raises:
        UserError: More processes than GPUs, or no launcher has started this process.
    """
    _refuse_missing_launcher(cfg.launcher)
    os.environ.setdefault("LOCAL_RANK", str(local_rank))
    if cfg.launcher == "none":
        return
    if torch.cuda.is_available():
        _refuse_missing_gpu(int(os.environ["LOCAL_RANK"]))
        return
    if cfg.launcher == "pytorch" and not torch.distributed.is_initialized():
        torch.distributed.init_process_group(backend="gloo")
    env_cfg = cfg.setdefault("env_cfg", {})
    env_cfg.setdefault("dist_cfg", {})["backend"] = "gloo"
    wrapper = cfg.get("model_wrapper_cfg") or {
        "type": "MMDistributedDataParallel",
        "broadcast_buffers": False,
        "find_unused_parameters": cfg.get("find_unused_parameters", False),
    }
    wrapper["device_ids"] = None
    cfg.model_wrapper_cfg = wrapper


def end_processes() -> None:
    """Leave the process group, as torch asks for at the end of a program.

    A data parallel model that is freed after its group may wait for ever. So the caller must hold
    no runner any more; the cycles by which runners, loops and hooks hold each other end here.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        gc.collect()
        torch.distributed.destroy_process_group()


def warn_of_batch_size(cfg: Config) -> None:
    """Warn when the learning rate of the config was chosen for another total batch.

    Args:
        cfg: The config, after the processes have been started.
    """
    scaling = cfg.get("auto_scale_lr") or {}
    base = scaling.get("base_batch_size")
    if base is None or scaling.get("enable", False):
        return
    per_process = cfg.train_dataloader.get("batch_size", 1)
    accumulated = cfg.optim_wrapper.get("accumulative_counts", 1)
    total = get_world_size() * per_process * accumulated
    if total == base:
        return
    print_log(
        f"The learning rate of this config is for a total batch of {base}, but this run has "
        f"{get_world_size()} process(es) x {per_process} images"
        + (f" x {accumulated} accumulated" if accumulated > 1 else "")
        + f" = {total}. Add --auto-scale-lr to scale the learning rate by {total / base:.4g}, or "
        "set train_dataloader.batch_size.",
        logger="current",
        level=logging.WARNING,
    )


def warn_of_processes(checkpoint: dict) -> None:
    """Warn when a run is resumed by another number of processes than it had.

    Args:
        checkpoint: What the run goes on from.
    """
    before = checkpoint.get("meta", {}).get("world_size")
    if before is not None and before != get_world_size():
        print_log(
            f"This run had {before} process(es) and goes on with {get_world_size()}: the total "
            "batch, the length of an epoch and with it the schedule change, so that it is not the "
            f"run that it would have been. Resume with {before} to continue it exactly.",
            logger="current",
            level=logging.WARNING,
        )


# What each launcher sets in the environment of the processes that it starts, and how to start them.
_LAUNCHERS = {
    "pytorch": ("RANK", "tools/dist_train.sh or tools/dist_test.sh CONFIG ... GPUS, or torchrun"),
    "slurm": ("SLURM_PROCID", "srun"),
    "mpi": ("OMPI_COMM_WORLD_LOCAL_RANK", "mpirun"),
}


def _refuse_missing_launcher(launcher: str) -> None:
    variable, command = _LAUNCHERS.get(launcher, (None, ""))
    if variable is not None and variable not in os.environ:
        raise UserError(
            f"Expected a process that {launcher} has started for --launcher {launcher}, but the "
            f"environment has no {variable}; start it by {command}, or leave --launcher out to run "
            "in one process"
        )


def _refuse_missing_gpu(local_rank: int) -> None:
    count = torch.cuda.device_count()
    if local_rank >= count:
        raise UserError(
            f"Expected at most {count} process(es) on this machine, one per visible GPU, but "
            f"process {local_rank} has none; start fewer, or check CUDA_VISIBLE_DEVICES"
        )
