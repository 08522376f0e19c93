"""Every instance weight by every balance of the box loss (thesis Table 8.1), for any Rank... head.

Example:
    python experiments/ablation_grid.py --config configs/digits/rs-atss_r18_fpn_digits.py \
        --balances 1 2 value --out grid.json
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config
from runs import ROOT, keep_settings, run_once, spread

from mmdet_rank.cli.errors import UserError, explained, run_tool
from mmdet_rank.evaluation.report import format_table
from mmdet_rank.files import write_json

CONFIG = ROOT / "configs" / "digits" / "rs-atss_r18_fpn_digits.py"
#: Rows and columns of the thesis's table; a number is a constant weight of the box loss.
WEIGHTS = ("none", "centerness", "score", "iou", "ranking")
BALANCES = ("1", "2", "3", "value", "magnitude")
#: One table for each, in percent; the last is the rank correlation of scores and IoUs.
FIGURES = ("AP", "oLRP", "oLRP_Loc", "correlation")


def main(argv: list[str] | None = None) -> int:
    """Run the grid; return the exit code."""
    return run_tool(lambda: run_grid(argv))


def run_grid(argv: list[str] | None = None) -> None:
    """Train and evaluate every cell with every seed, and print one table per figure.

    Raises:
        UserError: The config does not exist or has no criterion, the work folder has runs of
            other settings, or a run failed.
    """
    args = make_parser().parse_args(argv)
    config = args.config
    check_config(config)
    work_dir = Path(args.work_dir)
    settings = {"config": config.name, "epochs": args.epochs, "cfg_options": args.cfg_options}
    keep_settings(work_dir, settings)
    cells = {}
    for weight in args.weights:
        for balance in args.balances:
            name = f"{weight}_{balance}"
            options = [*cell_options(weight, balance), *args.cfg_options]
            cells[name] = [
                run_once(config, seed, args.epochs, work_dir / name, options) for seed in args.seeds
            ]
            if args.out:
                write_json(args.out, cells)
    print(tables(cells, args.weights, args.balances))


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--config",
        type=Path,
        default=CONFIG,
        help="of a detector with a Rank... head; default: RS-ATSS on the digits",
    )
    parser.add_argument("--weights", nargs="+", default=list(WEIGHTS), choices=WEIGHTS)
    parser.add_argument(
        "--balances",
        nargs="+",
        default=list(BALANCES),
        type=balance_name,
        metavar="BALANCE",
        help="value, magnitude, or a constant weight of the box loss; default: "
        + " ".join(BALANCES),
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument(
        "--epochs",
        type=int,
        help="budget, to which schedules are scaled; default: that of the config",
    )
    parser.add_argument("--work-dir", default="work_dirs/ablation", help="folder of the runs")
    parser.add_argument("--out", help="JSON file for the figures of every run")
    parser.add_argument(
        "--cfg-options", nargs="+", default=[], help="options for all runs, as for mmdet-rank train"
    )
    return parser


def balance_name(text: str) -> str:
    """Check a balance as the command line gives it.

    Raises:
        argparse.ArgumentTypeError: It is neither a balance nor a positive number.
    """
    if text in ("value", "magnitude"):
        return text
    try:
        positive = float(text) > 0
    except ValueError:
        positive = False
    if not positive:
        raise argparse.ArgumentTypeError(
            f"expected value, magnitude or a number above 0, but got {text!r}"
        )
    return text


def cell_options(weight: str, balance: str) -> list[str]:
    """Config options of a cell of the table.

    Example:
        >>> cell_options("score", "2")[-1]
        'model.bbox_head.loss_bbox.loss_weight=2'
    """
    constant = balance not in ("value", "magnitude")
    options = [
        f"model.bbox_head.criterion.instance_weight={weight}",
        f"model.bbox_head.criterion.balance={'constant' if constant else balance}",
    ]
    return [*options, f"model.bbox_head.loss_bbox.loss_weight={balance}"] if constant else options


def check_config(path: Path) -> None:
    """Check that a config has a head with a criterion.

    Raises:
        UserError: It does not exist, or its model has no head that ranks.
    """
    if not path.is_file():
        raise UserError(f"Expected a config file, but {path} does not exist")
    with explained(f"{path} cannot be read"):
        head = Config.fromfile(path).model.get("bbox_head") or {}
    if not str(head.get("type", "")).startswith("Rank"):
        raise UserError(
            f"Expected a config whose model.bbox_head is a Rank... head, but {path} has "
            f"{head.get('type')!r}; take one such as {CONFIG}"
        )


def tables(cells: dict[str, list[dict]], weights: Sequence[str], balances: Sequence[str]) -> str:
    """Means over the seeds in percent, with the standard deviation of several: one table a figure.

    Args:
        cells: Runs by ``WEIGHT_BALANCE``.
        weights: Rows.
        balances: Columns.
    """
    header = ["instance weight", *(f"constant {b}" if b[0].isdigit() else b for b in balances)]
    parts = []
    for figure in FIGURES:
        rows = [
            [weight, *(mean(cells[f"{weight}_{b}"], figure) for b in balances)]
            for weight in weights
        ]
        parts.append(f"{figure} (percent)\n{format_table(header, rows)}")
    return "\n\n".join(parts)


def mean(runs: list[dict], figure: str) -> str:
    """Mean of a figure of boxes in percent, with the standard deviation of several runs."""
    return spread([run["boxes"][figure] for run in runs], 100, 1)


if __name__ == "__main__":
    sys.exit(main())
