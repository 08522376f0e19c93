"""Several detectors on the digits by one budget: `python tools/compare_digits.py CONFIG ...`."""

from __future__ import annotations

import argparse
import statistics
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
from mmdet_rank.visualization.training_curve import read_scalars

#: Figures in percent of the table, as the LRP report calls them.
FIGURES = ("AP", "AP50", "AP75", "oLRP", "oLRP_Loc", "oLRP_FP", "oLRP_FN")


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
        UserError: A config does not exist, or a run failed.
    """
    args = make_parser().parse_args(argv)
    rows = {}
    for config in map(Path, args.configs):
        if not config.is_file():
            raise UserError(f"Expected a config file, but {config} does not exist")
        rows[config.stem] = [
            run_once(root, config, seed, args.epochs, Path(args.work_dir), args.cfg_options)
            for seed in args.seeds
        ]
        if args.out:
            write_json(args.out, rows)
    print(summary(rows))


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
    parser.add_argument(
        "--cfg-options", nargs="+", default=[], help="options for all runs, as for tools/train.py"
    )
    return parser


def run_once(
    root: Path, config: Path, seed: int, epochs: int | None, work_dir: Path, options: list[str]
) -> dict:
    """Train and evaluate one config with one seed, or read what an earlier call left.

    Returns:
        The figures of ``FIGURES`` in [0, 1], the rank correlation of scores and IoUs over the
        true positives, and the median seconds of an iteration.
    """
    folder = work_dir / f"{config.stem}_seed{seed}"
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
    write_json(result, measure(config, training, prefix / "detections.bbox.json"))
    return load_json(result)


def measure(config: Path, training: Path, detections: Path) -> dict:
    """Figures of a finished run from its detections and its log."""
    cfg = Config.fromfile(config)
    dataset = cfg.val_dataloader.dataset
    truth = load_json(Path(dataset.data_root) / dataset.ann_file)
    evaluation = evaluate_coco(truth, load_json(detections))
    report = evaluation.report()
    matches = evaluation.matches["all"].values()
    # Classes of a test set are never ranked against each other, so neither are they here.
    correlations = [
        spearman(torch.tensor(m.scores[m.is_tp]), torch.tensor(m.quality[m.is_tp])) for m in matches
    ]
    defined = [value for value in correlations if value is not None]
    times = [entry["time"] for entry in read_scalars(training) if "time" in entry]
    return {key: report[key] for key in FIGURES} | {
        "correlation": statistics.fmean(defined) if defined else None,
        "iteration": statistics.median(times),
    }


def summary(rows: dict[str, list[dict]]) -> str:
    """Mean and, of several seeds, standard deviation, as a table."""
    cells = []
    for name, runs in rows.items():
        row = [name]
        for key in FIGURES:
            row.append(_spread([run[key] for run in runs], 100, 1))
        row.append(_spread([run["correlation"] for run in runs], 1, 2))
        row.append(_spread([run["iteration"] for run in runs], 1, 2))
        cells.append(row)
    return format_table(["detector", *FIGURES, "rank corr.", "s/iteration"], cells)


def _budget(epochs: int | None) -> list[str]:
    if epochs is None:
        return []
    keys = ("train_cfg.max_epochs", "train_cfg.val_interval", "param_scheduler.1.end")
    return [f"{key}={epochs}" for key in (*keys, "param_scheduler.1.T_max")]


def _spread(values: list[float | None], factor: float, digits: int) -> str:
    if any(value is None for value in values):
        return "-"
    scaled = [value * factor for value in values]
    text = f"{statistics.fmean(scaled):.{digits}f}"
    return f"{text} ± {statistics.stdev(scaled):.{digits}f}" if len(scaled) > 1 else text
