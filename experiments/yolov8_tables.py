"""Gathers the runs of YOLOv8n and of REG on blood cells, and writes ``docs/experiments.md``.

With folders of runs of ``real_data.py`` their ``result.json`` are gathered in
``benchmarks/results/``; the tables are made from there, and no figure in them is typed by hand.
The stock detectors beside REG's on a pretrained backbone are those of ``real_tables.py``.

Example:
    python experiments/yolov8_tables.py work_dirs/yolo/*
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path

from digits_tables import DETECTORS, RESULTS
from runs import FIGURES, ROOT, check_runs, spread

from mmdet_rank.cli.errors import UserError, run_tool
from mmdet_rank.evaluation.report import F1_FIGURES
from mmdet_rank.files import load_json, write_json

sys.path.append(str(ROOT / "benchmarks"))
from tables import fill, markdown

DOCUMENT = ROOT / "docs" / "experiments.md"
#: Files of the gathered runs, by how the configs' names end.
FILES = {
    "yolov8_n_1xb16-1500i_bccd": "yolov8_bccd.json",
    "_lite0_fpn_bccd": "reg_lite_bccd.json",
}
#: Losses by the beginnings of YOLOv8's configs' names, in the order of the tables.
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
#: Losses of the detectors on a pretrained backbone, likewise.
LITE_LOSSES = {"": "MMDetection", "rs-": "RS Loss", "reg-": "REG"}
MEANS = ("AP", "AP50", "AP75", *F1_FIGURES, *FIGURES[3:])
CLASSES = ("AP", "recall")


def main(argv: list[str] | None = None) -> int:
    """Gather the runs given, and fill the tables; return the exit code."""
    return run_tool(lambda: write_tables(argv))


def write_tables(argv: list[str] | None = None) -> None:
    """Gather and fill.

    Raises:
        UserError: There is no result.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="*", type=Path, help="folders of runs")
    folders = parser.parse_args(argv).runs
    if folders:
        gather(folders)
    tables = blocks()
    if not tables:
        raise UserError(
            f"Expected results in {RESULTS}, but there are none; give the folders of runs of "
            "real_data.py"
        )
    fill(DOCUMENT, tables)


def gather(folders: list[Path]) -> None:
    """Write the results of the runs into one file for each kind of config.

    Raises:
        UserError: No folder has a result of these comparisons, or those of one differ in their
            budget or have a seed twice.
    """
    found: dict[str, dict[str, list[dict]]] = {ending: defaultdict(list) for ending in FILES}
    for folder in sorted(folders):
        if (folder / "result.json").is_file():
            result = load_json(folder / "result.json")
            for ending, rows in found.items():
                if result["config"].endswith(ending):
                    rows[result["config"]].append(result)
    if not any(found.values()):
        raise UserError(
            f"Expected results of configs that end in {' or '.join(FILES)}, but got none"
        )
    for ending, rows in found.items():
        if rows:
            check_runs(rows)
            write_json(RESULTS / FILES[ending], dict(rows))


def blocks() -> dict[str, str]:
    """The tables of the document, by name, of the results that there are."""
    yolo, lite = (RESULTS / name for name in FILES.values())
    tables = {}
    if yolo.is_file():
        runs = load_json(yolo)
        rows = {
            (loss,): runs[name]
            for prefix, loss in LOSSES.items()
            if (name := f"{prefix}yolov8_n_1xb16-1500i_bccd") in runs
        }
        tables["yolov8_bccd"] = means_table(["loss"], rows)
        tables["yolov8_bccd_classes"] = classes_table(["loss"], rows)
        tables["yolov8_bccd_curve"] = curve_table(["loss"], rows)
    if lite.is_file():
        runs = load_json(RESULTS / "real_bccd_600.json") | load_json(lite)
        rows = {
            (title, loss): runs[name]
            for detector, title in DETECTORS.items()
            if f"reg-{detector}_lite0_fpn_bccd" in runs
            for prefix, loss in LITE_LOSSES.items()
            if (name := f"{prefix}{detector}_lite0_fpn_bccd") in runs
        }
        tables["reg_lite"] = means_table(["detector", "loss"], rows)
        tables["reg_lite_classes"] = classes_table(["detector", "loss"], rows)
        tables["reg_lite_curve"] = curve_table(["detector", "loss"], rows)
    return tables


def means_table(header: list[str], rows: dict[tuple[str, ...], list[dict]]) -> str:
    """Means over the classes on the test set: mean and standard deviation over the seeds."""
    cells = []
    for labels, runs in rows.items():
        boxes = [run["test"]["boxes"] for run in runs]
        values = [spread([box.get(key) for box in boxes], 100, 1) for key in MEANS]
        cells.append([*labels, str(len(runs)), *values])
    return markdown([*header, "runs", *MEANS], cells)


def classes_table(header: list[str], rows: dict[tuple[str, ...], list[dict]]) -> str:
    """AP of each class on the test set, and its recall where its own F1 is best."""
    columns, cells = [], []
    for labels, runs in rows.items():
        found = [run["test"]["boxes"]["per_class"] for run in runs]
        columns = [f"{key}, {name}" for name in found[0] for key in CLASSES]
        values = [
            spread([classes[name].get(key) for classes in found], 100, 1)
            for name in found[0]
            for key in CLASSES
        ]
        cells.append([*labels, *values])
    return markdown([*header, *columns], cells)


def curve_table(header: list[str], rows: dict[tuple[str, ...], list[dict]]) -> str:
    """AP on the validation set by the iteration."""
    columns, cells = [], []
    for labels, runs in rows.items():
        curves = [run["curve"] for run in runs]
        columns = [f"AP at {point['iteration']}" for point in curves[0]]
        values = [
            spread([curve[place]["boxes AP"] for curve in curves], 100, 1)
            for place in range(len(columns))
        ]
        cells.append([*labels, *values])
    return markdown([*header, *columns], cells)


if __name__ == "__main__":
    sys.exit(main())
