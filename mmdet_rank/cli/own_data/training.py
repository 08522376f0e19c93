"""Running the training and the last evaluation, their long output in a file."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmdet_rank.cli import checkpoints, running
from mmdet_rank.cli.class_order import order_classes
from mmdet_rank.cli.errors import UserError, interruptible
from mmdet_rank.cli.own_data.config import TRAINING
from mmdet_rank.cli.own_data.progress import ProgressHook
from mmdet_rank.cli.train import build_runner, enable_amp, make_resumable, select_start
from mmdet_rank.engine.wrapped import unwrapped
from mmdet_rank.evaluation.thresholds import report_thresholds
from mmdet_rank.files import load_json, write_json, written_whole

LOG = "console.log"
#: Folder, in that of the training, for what an evaluation writes.
EVALUATION = "evaluation"


def run(config: Path, *, half: bool, resume: str | None) -> dict:
    """Train as a config says, evaluate the best checkpoint, and keep what matters.

    Beside the config come to lie ``best.pth`` (weights, classes and the config), ``lrp.json``,
    ``thresholds.json``, and in ``evaluation/`` the detections.

    Args:
        config: The file that `write_config` wrote, in the folder of the training.
        half: Whether to train in mixed precision.
        resume: Checkpoint to go on from, "auto" for the last one in the folder, None to begin.

    Returns:
        The LRP report; of a detector of masks that of the masks.

    Raises:
        UserError: Something does not fit, or the training failed.
        Interrupted: The user pressed Ctrl-C.
    """
    folder = config.parent
    cfg = Config.fromfile(config)
    cfg.launcher = "none"
    # The thresholds are chosen on the validation pictures; those for testing wait for `test`.
    cfg.test_dataloader, cfg.test_evaluator = cfg.val_dataloader, cfg.val_evaluator
    if half:
        enable_amp(cfg)
    checkpoints.use_safe_loading(False)
    with quiet(folder / LOG) as shown:
        select_start(cfg, resume, trust=False)
        make_resumable(cfg, {})
        order_classes(cfg)
        runner = build_runner(cfg)
        runner.register_hook(ProgressHook(shown))
        with running.training(runner):
            runner.train()
        with interruptible(lambda: "the training is done; add --resume to the same command"):
            return _evaluate(cfg, folder, runner)


@contextlib.contextmanager
def quiet(log: Path) -> Iterator:
    """Send what is printed to a file; gives the stream of the terminal."""
    log.parent.mkdir(parents=True, exist_ok=True)
    terminal = sys.stderr
    with (
        log.open("a", encoding="utf-8") as file,
        contextlib.redirect_stdout(file),
        contextlib.redirect_stderr(file),
    ):
        yield terminal


def _evaluate(cfg: Config, folder: Path, runner: Runner) -> dict:
    best = _best_checkpoint(folder / TRAINING)
    weights = checkpoints.read_checkpoint(str(best))["state_dict"]
    unwrapped(runner).load_state_dict(weights)
    prefix = folder / EVALUATION
    prefix.mkdir(exist_ok=True)
    for metric in runner.test_evaluator.metrics:
        metric.outfile_prefix = str(prefix / "detections")
        metric.report_prefix = str(prefix / "report")
    runner.test()
    metrics = cfg.test_evaluator.metric
    main = "segm" if "segm" in metrics else "bbox"
    report = load_json(prefix / f"report.{main}.lrp.json")
    write_json(folder / "lrp.json", report)
    write_json(folder / "thresholds.json", report_thresholds(report))
    meta = {
        "dataset_meta": {
            "classes": list(cfg.metainfo.classes),
            "category_ids": list(runner.test_evaluator.metrics[0].cat_ids),
        },
        "cfg": cfg.pretty_text,
        "iter": _iteration_of(best),
    }
    with written_whole(folder / "best.pth") as temporary:
        torch.save({"state_dict": weights, "meta": meta}, temporary)
    best.unlink()
    return report


def _best_checkpoint(folder: Path) -> Path:
    found = sorted(folder.glob("best_*.pth"), key=lambda path: path.stat().st_mtime)
    if found:
        return found[-1]
    latest = checkpoints.find_latest(str(folder))
    if latest is None:
        raise UserError(f"Expected a checkpoint in {folder}, but there is none; train again")
    return Path(latest)


def _iteration_of(checkpoint: Path) -> int:
    digits = checkpoint.stem.rpartition("_")[2]
    return int(digits) if digits.isdigit() else 0
