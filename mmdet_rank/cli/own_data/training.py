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
from mmdet_rank.cli.own_data.moved import OwnBestHook
from mmdet_rank.cli.own_data.progress import ProgressHook
from mmdet_rank.cli.train import build_runner, enable_amp, make_resumable, select_start
from mmdet_rank.engine.wrapped import unwrapped
from mmdet_rank.evaluation.thresholds import report_thresholds
from mmdet_rank.files import load_json, write_json, written_whole

LOG = "console.log"
#: Folder, in that of the training, for what an evaluation writes.
EVALUATION = "evaluation"
#: The best checkpoint without the state of training, and what MMEngine calls the one with it.
BEST = "best.pth"
_BEST_OF_TRAINING = "best_*.pth"
#: How to have what an interrupted end lacks.
HOW_TO_END = "the training is done; add --resume to the same command for what it leaves"


def run(config: Path, *, resume: str | None, trust: bool = False) -> dict:
    """Train as a config says, evaluate the best checkpoint, and keep what matters.

    Beside the config come to lie ``best.pth`` (weights, classes and the config), ``lrp.json``,
    ``thresholds.json``, and in ``evaluation/`` the detections.

    Args:
        config: The file that `write_config` wrote, in the folder of the training.
        resume: Checkpoint to go on from, "auto" for the last one in the folder, None to begin.
        trust: Unpickle whatever else that checkpoint holds, which runs code from it.

    Returns:
        The LRP report; of a detector of masks that of the masks.

    Raises:
        UserError: Something does not fit, or the training failed.
        Interrupted: The user pressed Ctrl-C.
    """
    folder = config.parent
    cfg = Config.fromfile(config)
    cfg.launcher = "none"
    cfg.work_dir = str(folder / TRAINING)
    # The thresholds are chosen on the validation pictures; those for testing wait for `test`.
    cfg.test_dataloader, cfg.test_evaluator = cfg.val_dataloader, cfg.val_evaluator
    if cfg.optim_wrapper.type == "AmpOptimWrapper" and not torch.cuda.is_available():
        # It was prepared on a machine with a GPU.
        enable_amp(cfg)
    checkpoints.use_safe_loading(trust)
    with quiet(folder / LOG) as shown:
        select_start(cfg, resume, trust=trust)
        make_resumable(cfg, {})
        order_classes(cfg)
        runner = build_runner(cfg)
        runner.register_hook(OwnBestHook())
        runner.register_hook(ProgressHook(shown))
        with running.training(runner):
            runner.train()
        with interruptible(lambda: HOW_TO_END):
            return _evaluate(cfg, folder, runner, trust)


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


def _evaluate(cfg: Config, folder: Path, runner: Runner, trust: bool = False) -> dict:
    best = _best_checkpoint(cfg, folder)
    checkpoint = checkpoints.read_checkpoint(str(best), trust=trust)
    weights = checkpoint["state_dict"]
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
        "iter": checkpoint["meta"]["iter"],
    }
    with written_whole(folder / BEST) as temporary:
        torch.save({"state_dict": weights, "meta": meta}, temporary)
    # Any other than the copy that was just kept is one to go on from.
    if best.match(_BEST_OF_TRAINING):
        best.unlink()
    return report


def _best_checkpoint(cfg: Config, folder: Path) -> Path:
    """The best checkpoint since the last call, or else what that call kept, or else the latest."""
    training = folder / TRAINING
    found = sorted(training.glob(_BEST_OF_TRAINING), key=lambda path: path.stat().st_mtime)
    if found:
        return found[-1]
    if cfg.default_hooks.checkpoint.get("save_best") and (folder / BEST).is_file():
        return folder / BEST
    latest = checkpoints.find_latest(str(training))
    if latest is None:
        raise UserError(f"Expected a checkpoint in {training}, but there is none; train again")
    return Path(latest)
