"""Tables of YOLOv8n on blood cells by each loss, from runs of ``real_data.py``.

The runs' ``result.json`` are gathered in ``benchmarks/results/yolov8_bccd.json``, and from there
tables are printed in Markdown; no figure in them is typed by hand.

Example:
    python experiments/yolov8_tables.py work_dirs/yolo/*
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path

from runs import ROOT, spread

from mmdet_rank.cli.errors import UserError, run_tool
from mmdet_rank.files import load_json, write_json

sys.path.append(str(ROOT / "benchmarks"))
from tables import markdown

RESULTS = ROOT / "benchmarks" / "results" / "yolov8_bccd.json"
ENDING = "yolov8_n_1xb16-1500i_bccd"
#: Losses by the beginnings of the configs' names, in the order of the tables.
LOSSES = {
    "": "binary cross entropy",
    "qfl-": "Quality Focal Loss",
    "reg-both-": "REG, weights on both terms",
    "reg-positives-": "REG, weights on positives",
    "reg-near-": "REG, near counts more",
    "reg-far-": "REG, far counts more",
    "reg-": "REG, weights on positives, near counts more",
    "rs-": "RS Loss",
}
MEANS = ("AP", "AP50", "AP75", "precision", "recall", "F1", "oLRP")
CLASSES = ("AP", "recall")


def main(argv: list[str] | None = None) -> int:
    """Gather the runs given, and print the tables; return the exit code."""
    return run_tool(lambda: show(argv))


def show(argv: list[str] | None = None) -> None:
    """Gather and print.

    Raises:
        UserError: There is no result.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="*", type=Path, help="folders of runs")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where they are gathered")
    args = parser.parse_args(argv)
    if args.runs:
        gather(args.runs, args.results)
    if not args.results.is_file():
        raise UserError(
            f"Expected results, but {args.results} does not exist; name folders of runs"
        )
    rows = load_json(args.results)
    print(means_table(rows))
    print()
    print(classes_table(rows))


def gather(folders: list[Path], results: Path) -> None:
    """Write the results of the runs into one file.

    Raises:
        UserError: No folder has a result of this comparison.
    """
    rows = defaultdict(list)
    for folder in sorted(folders):
        if (folder / "result.json").is_file():
            result = load_json(folder / "result.json")
            if result["config"].endswith(ENDING):
                rows[result["config"].removesuffix(ENDING)].append(result)
    if not rows:
        raise UserError(f"Expected results of configs that end in {ENDING}, but got none")
    write_json(results, dict(rows))


def means_table(rows: dict[str, list[dict]]) -> str:
    """Means over the classes on the test set: mean and standard deviation over the seeds."""
    cells = []
    for prefix, loss in LOSSES.items():
        if runs := rows.get(prefix):
            boxes = [run["test"]["boxes"] for run in runs]
            values = [spread([box.get(key) for box in boxes], 100, 1) for key in MEANS]
            cells.append([loss, str(len(runs)), *values])
    return markdown(["loss", "runs", *MEANS], cells)


def classes_table(rows: dict[str, list[dict]]) -> str:
    """AP of each class on the test set, and its recall where its own F1 is best."""
    header, cells = [], []
    for prefix, loss in LOSSES.items():
        if runs := rows.get(prefix):
            found = [run["test"]["boxes"]["per_class"] for run in runs]
            header = [f"{key}, {name}" for name in found[0] for key in CLASSES]
            values = [
                spread([classes[name].get(key) for classes in found], 100, 1)
                for name in found[0]
                for key in CLASSES
            ]
            cells.append([loss, *values])
    return markdown(["loss", *header], cells)


if __name__ == "__main__":
    sys.exit(main())
