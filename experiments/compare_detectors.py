r"""Detectors by one budget, on the data of their configs: AP, LRP Error, rank correlation, time.

Each config is trained with each seed and tested; runs whose results are in the work folder are not
repeated.

Example:
    python experiments/compare_detectors.py configs/digits/rs-atss_r18_fpn_digits.py \
        configs/digits/atss_r18_fpn_digits.py --seeds 0 1 2 --out figures.json --plot figures.png
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from comparison_picture import draw_comparison
from runs import FIGURES, IOU_TYPES, keep_settings, run_once, spread

from mmdet_rank.cli.errors import UserError, run_tool
from mmdet_rank.evaluation.report import format_table
from mmdet_rank.files import write_json

#: How the names of configs begin whose classification a ranking loss trains.
RANKED = ("rs-", "alrp-", "ap-")


def main(argv: list[str] | None = None) -> int:
    """Run the comparison; return the exit code."""
    return run_tool(lambda: compare(argv))


def compare(argv: list[str] | None = None) -> None:
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
    settings = {"epochs": args.epochs, "cfg_options": args.cfg_options}
    if args.iterations is not None:
        settings["iterations"] = args.iterations
    keep_settings(args.work_dir, settings)
    rows = {}
    for config in configs:
        rows[config.stem] = [
            run_once(
                config, seed, args.epochs, Path(args.work_dir), args.cfg_options, args.iterations
            )
            for seed in args.seeds
        ]
        if args.out:
            write_json(args.out, rows)
    print(summary(rows))
    if args.plot:
        draw_comparison(*selected(rows)).savefig(args.plot, dpi=120)


def run_all(
    configs: Sequence[Path],
    seeds: Sequence[int],
    epochs: int | None,
    work_dir: Path,
    options: Sequence[str],
    out: str | Path | None,
) -> dict[str, list[dict]]:
    """Run each config with each seed, and write the figures of every run after each config.

    Args:
        configs: Of different names.
        seeds: Of the runs.
        epochs: Budget; None for that of each config.
        work_dir: Folder of all runs; those whose results are there are not repeated.
        options: Further ``--cfg-options``.
        out: JSON file for the figures; None for none.

    Returns:
        The figures of each run, by the config's name; see `runs.run_once`.
    """
    rows: dict[str, list[dict]] = {}
    for config in configs:
        rows[config.stem] = [run_once(config, seed, epochs, work_dir, options) for seed in seeds]
        if out:
            write_json(out, rows)
    return rows


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("configs", nargs="+", help="config files")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--epochs",
        type=int,
        help="budget, to which schedules are scaled; default: that of each config",
    )
    size.add_argument("--iterations", type=int, help="budget by iterations in place of epochs")
    parser.add_argument("--work-dir", default="work_dirs/compare", help="folder of the runs")
    parser.add_argument("--out", help="JSON file for the figures of every run")
    parser.add_argument("--plot", help="PNG or SVG file for a picture of AP and oLRP")
    parser.add_argument(
        "--cfg-options", nargs="+", default=[], help="options for all runs, as for mmdet-rank train"
    )
    return parser


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


if __name__ == "__main__":
    sys.exit(main())
