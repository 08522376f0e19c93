"""Train and evaluate a table of the thesis, on the digits or with a config of one's own.

Finished runs are not repeated, and one that was broken off goes on, so that cells may be trained
one by one and at the same time; the last call puts them together.

Examples:
    python experiments/run_grid.py --list
    python experiments/run_grid.py P.1 --seeds 0 1 2 --epochs 1 --out benchmarks/results/P.1.json
    python experiments/run_grid.py 4.2 --data data/digits20 --cells OFB --seeds 0 --iterations 125
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from grids import GRIDS, Grid
from matplotlib.figure import Figure
from runs import FIGURES, ROOT, keep_settings, run_once, spread

from mmdet_rank.cli.errors import UserError, run_tool
from mmdet_rank.files import load_json, write_json, written_whole

_RANGE = {"least": min, "mean": statistics.fmean, "greatest": max}


def main(argv: list[str] | None = None) -> int:
    """Run the tool; return the exit code."""
    return run_tool(lambda: run_grid(make_parser().parse_args(argv)))


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("grid", nargs="?", choices=GRIDS, help="number of the thesis's table")
    parser.add_argument("--list", action="store_true", help="list the tables and their cells")
    parser.add_argument("--cells", nargs="+", metavar="NAME", help="default: all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--epochs", type=int, help="budget; default: that of the configs")
    size.add_argument("--iterations", type=int, help="budget by iterations in place of epochs")
    parser.add_argument(
        "--config",
        type=Path,
        help="of another detector for all cells, in tables whose cells differ by options alone "
        "(default: those of the table, on the digits)",
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="folder of tools/make_digits.py (default: data/digits/); tables 4.1 to 4.4 are about "
        "classes of unequal numbers, made by its --imbalance 20",
    )
    parser.add_argument("--work-dir", type=Path, default=ROOT / "work_dirs" / "grids")
    parser.add_argument("--out", type=Path, help="JSON file for the figures of every run")
    parser.add_argument(
        "--plot", type=Path, help="PNG or SVG file for the curves of grids 7.4 and L.1"
    )
    parser.add_argument(
        "--cfg-options", nargs="+", default=[], help="options for all runs, as for tools/train.py"
    )
    return parser


def run_grid(args: argparse.Namespace) -> None:
    """Train and evaluate every cell with every seed, and print the table.

    Raises:
        UserError: There is no such cell, the work folder has runs of other settings, or a run
            failed.
    """
    if args.list or args.grid is None:
        print(describe())
        return
    grid = GRIDS[args.grid]
    names = args.cells or list(grid.cells)
    unknown = [name for name in names if name not in grid.cells]
    if unknown:
        raise UserError(
            f"Expected cells of table {args.grid}, {list(grid.cells)}, but got {unknown}."
        )
    if args.iterations is not None and any(
        option.startswith("train_cfg.max_epochs") for n in names for option in grid.cells[n].options
    ):
        raise UserError(
            f"Expected a budget by --epochs for table {args.grid}, which looks at the first epoch, "
            f"but got --iterations {args.iterations}."
        )
    folder = args.work_dir / args.grid
    if args.config and not args.config.is_file():
        raise UserError(f"Expected a config file, but {args.config} does not exist.")
    if args.config and len({cell.config for cell in grid.cells.values()}) > 1:
        raise UserError(
            f"Expected no --config with table {args.grid}, which compares configs, but got "
            f"{args.config}; take a table of options, such as 8.1."
        )
    check_data(grid, args)
    options = [*data_options(args.data), *args.cfg_options]
    settings = {"epochs": args.epochs, "cfg_options": options}
    if args.iterations is not None:
        settings["iterations"] = args.iterations
    if args.config:
        settings["config"] = args.config.name
    keep_settings(folder, settings)
    cells = {}
    for name in names:
        cell = grid.cells[name]
        config = args.config or ROOT / "configs" / "digits" / f"{cell.config}.py"
        cells[name] = [
            run_once(
                config,
                seed,
                args.epochs,
                folder / file_name(name),
                [*cell.options, *options],
                args.iterations,
            )
            for seed in args.seeds
        ]
        if args.out:
            write_json(args.out, cells)
    print(table(grid, cells))
    if args.plot:
        figure = draw_balance(grid, cells)
        with written_whole(args.plot) as temporary:
            figure.savefig(temporary, dpi=120)


def check_data(grid: Grid, args: argparse.Namespace) -> None:
    """Say so when a table about unequal classes is about to be trained on equal ones.

    Raises:
        UserError: ``--data`` is not a folder of digits.
    """
    check_folder(args.data, "--data")
    manifest = (args.data or Path("data/digits")) / "manifest.json"
    if grid.imbalanced and not args.config and manifest.is_file():
        imbalance = load_json(manifest)["options"]["imbalance"]
        if imbalance == 1:
            print(
                f"Note: table {args.grid} is about classes of unequal numbers, and those in "
                f"{manifest.parent} have the same; make others by: "
                "python tools/make_digits.py --imbalance 20 --out data/digits20",
                file=sys.stderr,
            )


def check_folder(folder: Path | None, option: str) -> None:
    """Refuse a folder that holds no digits; None is the config's own.

    Raises:
        UserError: It does not.
    """
    if folder is not None and not (manifest := folder / "manifest.json").is_file():
        raise UserError(
            f"Expected a folder of tools/make_digits.py for {option}, but {manifest} does not "
            f"exist; make it by: python tools/make_digits.py --out {folder}"
        )


def data_options(folder: Path | None) -> list[str]:
    """Config options that put another data set of digits in the place of data/digits/."""
    if folder is None:
        return []
    validation = folder / "annotations" / "instances_val.json"
    return [
        *(f"{split}_dataloader.dataset.data_root={folder}/" for split in ("train", "val", "test")),
        *(f"{split}_evaluator.ann_file={validation}" for split in ("val", "test")),
    ]


def file_name(cell: str) -> str:
    """Name of a cell's folder.

    Example:
        >>> file_name("right_skew x balanced, OHPM"), file_name("OFB/R")
        ('right_skew_x_balanced_OHPM', 'OFB-R')
    """
    return cell.replace(", ", "_").replace(" ", "_").replace("/", "-")


def describe() -> str:
    """All tables with their cells."""
    return "\n".join(
        f"{number}: {grid.title}\n    {'; '.join(grid.cells)}" for number, grid in GRIDS.items()
    )


def table(grid: Grid, cells: dict[str, Sequence[dict]]) -> str:
    """Means over the seeds, with the standard deviation of several, as Markdown.

    In percent, but for the rank correlation.

    A table of two dimensions has one block per figure; others have a row per cell.

    Args:
        grid: the table.
        cells: runs by name of the cell.
    """
    split = [name.split(" x ") for name in cells]
    if all(len(parts) == 2 for parts in split):
        rows = list(dict.fromkeys(row for row, _ in split))
        columns = list(dict.fromkeys(column for _, column in split))
        blocks = [
            markdown(
                [figure, *columns],
                [
                    [row, *(_cell(cells.get(f"{row} x {column}"), figure) for column in columns)]
                    for row in rows
                ],
            )
            for figure in (*FIGURES, "correlation")
        ]
        return "\n\n".join([grid.title, *blocks])
    figures = (*FIGURES, "correlation")
    header = ["", *FIGURES, "rank corr."]
    lines = [[name, *(_cell(runs, figure) for figure in figures)] for name, runs in cells.items()]
    if all("gradient_balance" in run for runs in cells.values() for run in runs):
        header += [f"{what} gradient ratio" for what in _RANGE]
        for line, runs in zip(lines, cells.values(), strict=True):
            line += [
                spread([of(value for _, value in balance_of(run)) for run in runs], 1, 2)
                for of in _RANGE.values()
            ]
    return f"{grid.title}\n\n" + markdown(header, lines)


def balance_of(run: dict) -> list[list[float]]:
    """Iterations and gradient ratios of a run's one classifier, or of the first of several.

    Raises:
        UserError: There are none.
    """
    curves = list(run.get("gradient_balance", {}).values())
    if not curves:
        raise UserError(
            "Expected runs with GradientBalanceHook, those of the grids 7.4 and L.1, but these "
            "have logged no gradient ratios; leave --plot out."
        )
    return curves[0]


def draw_balance(grid: Grid, cells: dict[str, Sequence[dict]]) -> Figure:
    """Curves of the ratio of gradients that lower scores to those that raise them (Fig. 7.4, L.1).

    Args:
        grid: the table.
        cells: runs by name of the cell, each with a line.
    """
    figure = Figure(figsize=(6.5, 4), layout="constrained")
    axes = figure.subplots()
    for number, (name, runs) in enumerate(cells.items()):
        for place, run in enumerate(runs):
            iterations, ratios = zip(*balance_of(run), strict=True)
            axes.plot(iterations, ratios, color=f"C{number}", label=None if place else name)
    axes.axhline(1, color="0.7", lw=0.8, zorder=0)
    axes.set_yscale("log")
    axes.set_xlabel("iteration")
    axes.set_ylabel("gradients: lowering / raising")
    axes.legend(frameon=False)
    axes.set_title(grid.title, fontsize=9, wrap=True)
    return figure


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(runs: Sequence[dict] | None, figure: str) -> str:
    if not runs:
        return "-"
    factor, digits = (1, 2) if figure == "correlation" else (100, 1)
    return spread([run["boxes"][figure] for run in runs], factor, digits)


if __name__ == "__main__":
    sys.exit(main())
