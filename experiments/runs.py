"""One run of an experiment: a training and a test by the command, and the figures that come out."""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mmdet_rank.register  # noqa: F401

import torch
from mmengine.config import Config, DictAction
from scipy.stats import spearmanr

from mmdet_rank.cli.errors import UserError
from mmdet_rank.cli.progress import run_quietly
from mmdet_rank.evaluation.average_precision import average_precision
from mmdet_rank.evaluation.coco import evaluate_coco
from mmdet_rank.evaluation.report import F1_FIGURES, Evaluation
from mmdet_rank.files import load_json, write_json
from mmdet_rank.visualization.training_curve import read_scalars

#: MMEngine's own iterations from one log entry to the next.
_LOGGED = 10
ROOT = Path(__file__).resolve().parents[1]
#: What detectors are compared by: boxes, and masks of those that predict any.
IOU_TYPES = {"boxes": "bbox", "masks": "segm"}
#: Figures in percent of the table, as the LRP report calls them.
FIGURES = ("AP", "AP50", "AP75", "oLRP", "oLRP_Loc", "oLRP_FP", "oLRP_FN")
#: Figures of a detector that detects nothing.
NOTHING_FOUND = {"AP": 0.0, "AP50": 0.0, "AP75": 0.0, "oLRP": 1.0}
#: IoUs that Table 4.4 of the thesis trains and measures at.
IOUS = (0.5, 0.6, 0.7, 0.8, 0.9)


def run_once(
    config: Path,
    seed: int,
    epochs: int | None,
    work_dir: Path,
    options: Sequence[str],
    iterations: int | None = None,
) -> dict:
    """Train and evaluate one config with one seed, or read what an earlier call left.

    Args:
        config: Any config that trains, and tests in COCO's format.
        seed: Seed of the run.
        epochs: Budget; None for that of the config.
        work_dir: Folder of all runs.
        options: Further ``--cfg-options``.
        iterations: Budget in the place of epochs.

    Returns:
        For ``boxes``, ``masks`` or both, the figures of ``FIGURES`` in [0, 1] and the rank
        correlation of scores and IoUs over the true positives; the median seconds of an
        iteration; and what they come from: ``seed``, ``epochs`` or ``iterations`` where these are
        not the config's own, ``commit``, ``torch``.

    Raises:
        UserError: The run failed, or was begun with another config.
    """
    folder = work_dir / f"{config.stem}_seed{seed}"
    keep_config(folder, config, options)
    result = folder / "result.json"
    if result.is_file():
        print(f"Found {result}")
        return load_json(result)
    options = [f"randomness.seed={seed}", *budget(config, epochs, iterations), *options]
    training, prefix = folder / "training", folder / "evaluation"
    command = [sys.executable, "-m", "mmdet_rank"]
    run_quietly(
        [
            *(*command, "train", str(config), "--work-dir", str(training), "--resume"),
            *("--cfg-options", *options),
        ],
        folder / "train.log",
    )
    checkpoint = (training / "last_checkpoint").read_text().strip()
    run_quietly(
        [
            *(*command, "test", str(config), checkpoint, "--work-dir", str(prefix)),
            *("--cfg-options", *options),
            f"test_evaluator.outfile_prefix={prefix / 'detections'}",
        ],
        folder / "test.log",
    )
    figures = measure(prefix / config.name, training, prefix / "detections")
    size = {"epochs": epochs, "iterations": iterations}
    origin = {
        "seed": seed,
        **{key: value for key, value in size.items() if value},
        "commit": commit_of(ROOT),
        "torch": torch.__version__,
    }
    write_json(result, figures | origin)
    return load_json(result)


def budget(config: Path, epochs: int | None, iterations: int | None = None) -> list[str]:
    """Options that end a training, and its schedule, after so many epochs or iterations.

    Args:
        config: A config that trains by epochs; with ``iterations``, any.
        epochs: How many; None for no options.
        iterations: How many in the place of epochs; a warm-up by iterations keeps its length.

    Raises:
        UserError: The budget is not positive, or the config trains by iterations and not by
            epochs.
    """
    wanted = epochs if iterations is None else iterations
    if wanted is None:
        return []
    if wanted < 1:
        raise UserError(f"Expected a budget of at least 1, but got {wanted}")
    cfg = Config.fromfile(config)
    if iterations is not None:
        return _iterations(cfg, iterations)
    if "max_epochs" not in cfg.train_cfg:
        raise UserError(
            f"Expected a config that trains by epochs for --epochs, but {config} trains by "
            "iterations; give --iterations instead"
        )
    return [
        f"train_cfg.max_epochs={epochs}",
        f"train_cfg.val_interval={epochs}",
        *_scaled_schedule(cfg, epochs / cfg.train_cfg.max_epochs, by_epoch=True),
    ]


def _iterations(cfg: Config, iterations: int) -> list[str]:
    by_epoch = "max_epochs" in cfg.train_cfg
    whole = cfg.train_cfg.max_epochs if by_epoch else cfg.train_cfg.max_iters
    logger = cfg.get("default_hooks", {}).get("logger", {})
    logged = min(logger.get("interval", _LOGGED), iterations)
    return [
        *("train_cfg._delete_=True", "train_cfg.type=IterBasedTrainLoop"),
        # The run is tested afterwards.
        *(f"train_cfg.max_iters={iterations}", f"train_cfg.val_begin={iterations + 1}"),
        *("default_hooks.checkpoint.by_epoch=False", "log_processor.by_epoch=False"),
        f"default_hooks.checkpoint.interval={iterations}",
        # The seconds of an iteration come from the log.
        f"default_hooks.logger.interval={logged}",
        *_scaled_schedule(cfg, iterations / whole, by_epoch=by_epoch, to_iterations=by_epoch),
    ]


def _scaled_schedule(
    cfg: Config, factor: float, *, by_epoch: bool, to_iterations: bool = False
) -> list[str]:
    """Options for the schedulers that count as the training does; the others keep their length."""
    options = []
    schedulers = cfg.get("param_scheduler") or []
    for index, scheduler in enumerate(schedulers if isinstance(schedulers, list) else [schedulers]):
        if scheduler.get("by_epoch", True) != by_epoch:
            continue
        name = f"param_scheduler.{index}"
        if to_iterations:
            options += [f"{name}.by_epoch=False", f"{name}.convert_to_iter_based=False"]
        for key in ("begin", "end", "T_max"):
            if scheduler.get(key):
                options.append(f"{name}.{key}={max(1, round(scheduler[key] * factor))}")
        if scheduler.get("milestones"):
            scaled = [max(1, round(each * factor)) for each in scheduler["milestones"]]
            options.append(f"{name}.milestones={scaled}".replace(" ", ""))
    return options


def commit_of(root: Path) -> str | None:
    """The commit of a repository; None where git or the repository is missing."""
    command = ["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None


def keep_settings(
    work_dir: str | Path, settings: dict, remedy: str = "give another --work-dir"
) -> None:
    """Note the settings of the runs in their folder, for finished runs are not repeated.

    Args:
        work_dir: Folder of the runs.
        settings: What they have in common.
        remedy: What to do about a folder of other settings.

    Raises:
        UserError: The folder has runs of other settings.
    """
    file = Path(work_dir) / "settings.json"
    if file.is_file() and (found := load_json(file)) != settings:
        raise UserError(
            f"Expected runs with {settings} in {work_dir}, but those there have {found}; {remedy}, "
            "or delete that one"
        )
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, settings)


def check_runs(runs: Mapping[str, Sequence[Mapping]]) -> None:
    """Refuse runs whose mean would say nothing.

    Args:
        runs: By config, what `real_data.py` wrote of each run.

    Raises:
        UserError: The budgets differ, or a config has a seed twice.
    """
    budgets = {
        run["iterations"]: f"{name}, seed {run['seed']}"
        for name, own in runs.items()
        for run in own
    }
    if len(budgets) > 1:
        raise UserError(
            f"Expected runs of one budget, but got {budgets} by their iterations; give those of one"
        )
    for name, own in runs.items():
        seeds = [run["seed"] for run in own]
        if len(set(seeds)) < len(seeds):
            raise UserError(
                f"Expected each seed of {name} once, but got {sorted(seeds)}; leave a folder out"
            )


def keep_config(folder: Path, config: Path, options: Sequence[str] = ()) -> None:
    """Note of which config and data a run is, for it is found or continued by the config's name.

    Args:
        folder: Of the run.
        config: Its config.
        options: Its ``--cfg-options``.

    Raises:
        UserError: The config, an option or an annotation file has changed since the run began.
            What the run did not note, as those of earlier versions, is not compared.
    """
    cfg = Config.fromfile(config)
    content = json.dumps(cfg.to_dict(), sort_keys=True, default=str)
    now: dict[str, Any] = {
        "sha256": hashlib.sha256(content.encode()).hexdigest(),
        "options": list(options),
        "data": data_digests(cfg, options),
    }
    file = folder / "config.json"
    if file.is_file():
        before = load_json(file)
        # A file that is not here now is the one of before.
        now["data"] = before.get("data", {}) | now["data"]
        if now | before != now:
            raise UserError(
                f"Expected {config}, its options and its data as they were when the run in "
                f"{folder} began, but they have changed since; delete that folder, or give "
                "another --work-dir"
            )
    folder.mkdir(parents=True, exist_ok=True)
    write_json(file, now)


def data_digests(cfg: Config, options: Sequence[str] = ()) -> dict[str, str]:
    """Digests of the annotation files that a config with its options trains and measures on.

    Args:
        cfg: It stays as it is.
        options: ``KEY=VALUE``, as for ``--cfg-options``.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, default={})
    given = parser.parse_args(["--cfg-options", *options] if options else []).cfg_options
    whole = copy.deepcopy(cfg)
    whole.merge_from_dict(given)
    digests = {}
    for split in ("train", "val", "test"):
        dataset = (whole.get(f"{split}_dataloader") or {}).get("dataset") or {}
        while "ann_file" not in dataset and "dataset" in dataset:
            dataset = dataset["dataset"]
        file = Path(dataset.get("data_root") or "", dataset.get("ann_file") or "")
        if file.is_file():
            digests[split] = digest(file)
    return digests


def digest(*files: Path) -> str:
    """Twelve digits that tell the contents of files from others."""
    found = hashlib.sha256()
    for file in files:
        found.update(hashlib.sha256(file.read_bytes()).digest())
    return found.hexdigest()[:12]


def measure(config: Path, training: Path, prefix: Path) -> dict:
    """Figures of a finished run from its detections and its log.

    With `GradientBalanceHook` also ``gradient_balance``, its curve of each classifier.

    Args:
        config: The config as it was tested, with all options.
        training: Folder of the training.
        prefix: Path of the detections without ``.bbox.json`` and ``.segm.json``.
    """
    evaluator = Config.fromfile(config).test_evaluator
    truth = load_json(evaluator.ann_file)
    metric = evaluator.metric
    metrics = [metric] if isinstance(metric, str) else metric
    log = read_scalars(training)
    times = [entry["time"] for entry in log if "time" in entry]
    balance = gradient_balance(log)
    figures = {"gradient_balance": balance} if balance else {}
    return (
        figures
        | {
            name: measure_detections(truth, load_json(f"{prefix}.{iou_type}.json"), iou_type)
            for name, iou_type in IOU_TYPES.items()
            if iou_type in metrics
        }
        | {"iteration": statistics.median(times)}
    )


def gradient_balance(log: Sequence[Mapping[str, float]]) -> dict[str, list[list[float]]]:
    """Iterations and what `GradientBalanceHook` logged of each classifier there.

    Args:
        log: Entries of a training's log.

    Example:
        >>> gradient_balance([{"step": 20, "bbox_head/lowering_over_raising": 1.5}, {"step": 40}])
        {'bbox_head': [[20, 1.5]]}
    """
    found: dict[str, list[list[float]]] = {}
    for entry in log:
        for key, value in entry.items():
            if key.endswith(ending := "/lowering_over_raising"):
                found.setdefault(key.removesuffix(ending), []).append([entry["step"], value])
    return found


def measure_detections(truth: dict, detections: list[dict], iou_type: str) -> dict:
    """Figures of COCO results, and the rank correlation of their scores and IoUs.

    Of no detections at all AP is 0 and oLRP 1; what there is no figure of is None. Precision,
    recall and F1 are means over the classes at the confidence of the best mean F1. ``by_iou`` has
    AP, and oLRP with its components, at each of `IOUS`.

    Args:
        truth: Content of an annotation file.
        detections: Content of a result file.
        iou_type: ``bbox`` or ``segm``.
    """
    if not detections:
        nothing = {"AP": 0.0, "oLRP": 1.0}
        return dict.fromkeys((*FIGURES, *F1_FIGURES, "correlation")) | {
            **NOTHING_FOUND,
            "by_iou": [{"tau": tau} | nothing for tau in IOUS],
        }
    evaluation = evaluate_coco(truth, detections, iou_type, tau=IOUS)
    report = evaluation.report()
    # Classes of a test set are never ranked against each other, so neither are they here.
    correlations = [
        spearmanr(m.scores[m.is_tp], m.quality[m.is_tp]).statistic
        for m in evaluation.matches["all"].values()
        if varies(m.scores[m.is_tp]) and varies(m.quality[m.is_tp])
    ]
    return {key: report[key] for key in (*FIGURES, *F1_FIGURES)} | {
        "correlation": statistics.fmean(correlations) if correlations else None,
        "by_iou": [
            row | {"AP": average_precision_at(evaluation, row["tau"])} for row in report["over_tau"]
        ],
    }


def average_precision_at(evaluation: Evaluation, tau: float) -> float:
    """AP at one IoU: the mean over the classes that have objects."""
    return statistics.fmean(
        average_precision(found.scores, found.is_tp, found.num_gt)
        for found in evaluation.matches_at(tau).values()
        if found.num_gt
    )


def varies(values: Any) -> bool:
    """Whether an array holds two values that differ, without which nothing is correlated."""
    return values.size > 1 and (values != values[0]).any()


def spread(values: list[float | None], factor: float, digits: int) -> str:
    """Mean and, of several, standard deviation; "-" when one of them is not defined.

    Example:
        >>> spread([0.42, 0.44], factor=100, digits=1)
        '43.0 ± 1.4'
    """
    if any(value is None for value in values):
        return "-"
    scaled = [value * factor for value in values]
    text = f"{statistics.fmean(scaled):.{digits}f}"
    return f"{text} ± {statistics.stdev(scaled):.{digits}f}" if len(scaled) > 1 else text
