"""Several detectors on the digits by one budget: `python tools/compare_digits.py CONFIG ...`."""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
from pathlib import Path

import torch
from mmengine.config import Config

from mmdet_rank.cli.errors import UserError, run_tool
from mmdet_rank.cli.progress import run_quietly
from mmdet_rank.engine.ranking_diagnostics_hook import spearman
from mmdet_rank.evaluation.coco import evaluate_coco
from mmdet_rank.evaluation.coco_files import load_json
from mmdet_rank.evaluation.files import write_json
from mmdet_rank.evaluation.report import format_table
from mmdet_rank.visualization.comparison import draw_comparison
from mmdet_rank.visualization.training_curve import read_scalars

#: What detectors are compared by: boxes, and masks of those that predict any.
IOU_TYPES = {"boxes": "bbox", "masks": "segm"}
#: Figures in percent of the table, as the LRP report calls them.
FIGURES = ("AP", "AP50", "AP75", "oLRP", "oLRP_Loc", "oLRP_FP", "oLRP_FN")
#: Figures of a detector that detects nothing.
NOTHING_FOUND = {"AP": 0.0, "AP50": 0.0, "AP75": 0.0, "oLRP": 1.0}
#: How the names of configs begin whose classification a ranking loss trains.
RANKED = ("rs-", "alrp-", "ap-")


def main(root: Path, argv: list[str] | None = None) -> int:
    """Run the tool.

    Args:
        root: Folder of the repository, with ``tools/``.
        argv: Arguments, those of the command line by default.

    Returns:
        The exit code.
    """
    return run_tool(lambda: compare(root, argv))


def compare(root: Path, argv: list[str] | None = None) -> None:
    """Train and evaluate each config with each seed, and print the table.

    Runs whose results are in the work folder are not repeated.

    Raises:
        UserError: A config does not exist, the work folder has runs of other settings, or a run
            failed.
    """
    args = make_parser().parse_args(argv)
    configs = [Path(config) for config in args.configs]
    for config in configs:
        if not config.is_file():
            raise UserError(f"Expected a config file, but {config} does not exist")
    stems = [config.stem for config in configs]
    if len(set(stems)) < len(stems):
        raise UserError(
            f"Expected configs of different names, by which runs are kept and told apart, but got "
            f"{', '.join(map(str, configs))}; leave one out, or rename it"
        )
    keep_settings(args.work_dir, {"epochs": args.epochs, "cfg_options": args.cfg_options})
    rows = {}
    for config in configs:
        rows[config.stem] = [
            run_once(root, config, seed, args.epochs, Path(args.work_dir), args.cfg_options)
            for seed in args.seeds
        ]
        if args.out:
            write_json(args.out, rows)
    print(summary(rows))
    if args.plot:
        draw_comparison(*selected(rows)).savefig(args.plot, dpi=120)


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="compare_digits.py",
        description="Train detectors on the digits by one budget and print a table.",
    )
    parser.add_argument("configs", nargs="+", help="configs of configs/digits/")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, help="budget; default: that of each config")
    parser.add_argument("--work-dir", default="work_dirs/compare", help="folder of the runs")
    parser.add_argument("--out", help="JSON file for the figures of every run")
    parser.add_argument("--plot", help="PNG or SVG file for a picture of AP and oLRP")
    parser.add_argument(
        "--cfg-options", nargs="+", default=[], help="options for all runs, as for tools/train.py"
    )
    return parser


def run_once(
    root: Path, config: Path, seed: int, epochs: int | None, work_dir: Path, options: list[str]
) -> dict:
    """Train and evaluate one config with one seed, or read what an earlier call left.

    Returns:
        For ``boxes``, ``masks`` or both, the figures of ``FIGURES`` in [0, 1] and the rank
        correlation of scores and IoUs over the true positives; the median seconds of an
        iteration; and what they come from: ``seed``, ``commit``, ``torch``.
    """
    folder = work_dir / f"{config.stem}_seed{seed}"
    keep_config(folder, config)
    result = folder / "result.json"
    if result.is_file():
        print(f"Found {result}")
        return load_json(result)
    options = [f"randomness.seed={seed}", *_budget(epochs), *options]
    training, prefix = folder / "training", folder / "evaluation"
    python = sys.executable
    run_quietly(
        [
            python,
            str(root / "tools" / "train.py"),
            str(config),
            "--work-dir",
            str(training),
            "--resume",
            "--cfg-options",
            *options,
        ],
        folder / "train.log",
    )
    checkpoint = (training / "last_checkpoint").read_text().strip()
    run_quietly(
        [
            python,
            str(root / "tools" / "test.py"),
            str(config),
            checkpoint,
            "--work-dir",
            str(prefix),
            "--cfg-options",
            *options,
            f"test_evaluator.outfile_prefix={prefix / 'detections'}",
        ],
        folder / "test.log",
    )
    figures = measure(prefix / config.name, training, prefix / "detections")
    origin = {"seed": seed, "commit": commit_of(root), "torch": torch.__version__}
    write_json(result, figures | origin)
    return load_json(result)


def commit_of(root: Path) -> str | None:
    """The commit of a repository; None where git or the repository is missing."""
    command = ["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None


def keep_settings(work_dir: str | Path, settings: dict) -> None:
    """Note the settings of the runs in their folder, for finished runs are not repeated.

    Raises:
        UserError: The folder has runs of other settings.
    """
    file = Path(work_dir) / "settings.json"
    if file.is_file() and (found := load_json(file)) != settings:
        raise UserError(
            f"Expected runs with {settings} in {work_dir}, but those there have {found}; give "
            "another --work-dir, or delete that one"
        )
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, settings)


def keep_config(folder: Path, config: Path) -> None:
    """Note of which config a run is, for it is found or continued by the config's name.

    Raises:
        UserError: The config has changed since the run began.
    """
    content = json.dumps(Config.fromfile(config).to_dict(), sort_keys=True, default=str)
    fingerprint = hashlib.sha256(content.encode()).hexdigest()
    file = folder / "config.json"
    if file.is_file() and load_json(file) != {"sha256": fingerprint}:
        raise UserError(
            f"Expected {config} as it was when the run in {folder} began, but it has changed "
            "since; delete that folder, or give another --work-dir"
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_json(file, {"sha256": fingerprint})


def measure(config: Path, training: Path, prefix: Path) -> dict:
    """Figures of a finished run from its detections and its log.

    Args:
        config: The config as it was tested, with all options.
        training: Folder of the training.
        prefix: Path of the detections without ``.bbox.json`` and ``.segm.json``.
    """
    cfg = Config.fromfile(config)
    truth = load_json(cfg.test_evaluator.ann_file)
    metric = cfg.test_evaluator.metric
    metrics = [metric] if isinstance(metric, str) else metric
    times = [entry["time"] for entry in read_scalars(training) if "time" in entry]
    return {
        name: measure_detections(truth, load_json(f"{prefix}.{iou_type}.json"), iou_type)
        for name, iou_type in IOU_TYPES.items()
        if iou_type in metrics
    } | {"iteration": statistics.median(times)}


def measure_detections(truth: dict, detections: list[dict], iou_type: str) -> dict:
    """Figures of COCO results, and the rank correlation of their scores and IoUs.

    Of no detections at all AP is 0 and oLRP 1; what there is no figure of is None.

    Args:
        truth: Content of an annotation file.
        detections: Content of a result file.
        iou_type: ``bbox`` or ``segm``.
    """
    if not detections:
        return dict.fromkeys((*FIGURES, "correlation")) | NOTHING_FOUND
    evaluation = evaluate_coco(truth, detections, iou_type)
    report = evaluation.report()
    # Classes of a test set are never ranked against each other, so neither are they here.
    correlations = [
        spearman(torch.tensor(m.scores[m.is_tp]), torch.tensor(m.quality[m.is_tp]))
        for m in evaluation.matches["all"].values()
    ]
    defined = [value for value in correlations if value is not None]
    return {key: report[key] for key in FIGURES} | {
        "correlation": statistics.fmean(defined) if defined else None
    }


def summary(rows: dict[str, list[dict]]) -> str:
    """Mean and, of several seeds, standard deviation, as a table."""
    cells = []
    for name, runs in rows.items():
        for kind in (kind for kind in IOU_TYPES if kind in runs[0]):
            row = [name, kind]
            for key in FIGURES:
                row.append(spread([run[kind][key] for run in runs], 100, 1))
            row.append(spread([run[kind]["correlation"] for run in runs], 1, 2))
            row.append(spread([run["iteration"] for run in runs], 1, 2))
            cells.append(row)
    return format_table(["detector", "of", *FIGURES, "rank corr.", "s/iteration"], cells)


def selected(rows: dict[str, list[dict]]) -> tuple[dict[str, list[dict]], list[str]]:
    """What the picture shows: the figures of boxes and masks apart, and which rows are ranked.

    Example:
        >>> selected({"rs-solov2_r18": [{"masks": {"AP": 0.5}}], "fcos_r18": [{"boxes": {}}]})
        ({'rs-solov2_r18, masks': [{'AP': 0.5}], 'fcos_r18, boxes': [{}]}, ['rs-solov2_r18, masks'])
    """
    parts = {
        f"{name}, {kind}": [run[kind] for run in runs]
        for name, runs in rows.items()
        for kind in IOU_TYPES
        if kind in runs[0]
    }
    return parts, [name for name in parts if name.startswith(RANKED)]


def _budget(epochs: int | None) -> list[str]:
    if epochs is None:
        return []
    keys = ("train_cfg.max_epochs", "train_cfg.val_interval", "param_scheduler.1.end")
    return [f"{key}={epochs}" for key in (*keys, "param_scheduler.1.T_max")]


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
