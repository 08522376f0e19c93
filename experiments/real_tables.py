"""Gathers the runs on real data, and writes their tables into the documents.

With folders of runs of ``real_data.py`` their ``result.json`` are gathered in
``benchmarks/results/``; the tables and the pictures of the learning curves are made from there, and
no figure in them is typed by hand.

Example:
    python experiments/real_tables.py work_dirs/real/*
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections import defaultdict
from pathlib import Path

from digits_tables import RESULTS, figures, split_name
from matplotlib.figure import Figure
from runs import FIGURES, IOU_TYPES, ROOT, check_runs, spread

from mmdet_rank.cli.errors import UserError, run_tool
from mmdet_rank.files import load_json, write_json, written_whole

sys.path.append(str(ROOT / "benchmarks"))
from tables import fill, markdown

#: Data sets by the ends of the configs' names, with what the docs call them.
DATA = {"bccd": "blood cells", "tiles": "magnetic tiles"}
RULES = ("LRP-optimal", "F1-optimal", "0.5")
JUDGED = ("LRP", "precision", "recall", "F1")
COLOURS = {"RS Loss": "C0", "aLRP Loss": "C2", "AP Loss": "C4", "MMDetection": "0.55"}


def main(argv: list[str] | None = None) -> int:
    """Gather the runs given, draw their learning curves, and fill the tables; the exit code."""
    return run_tool(lambda: write_tables(argv))


def write_tables(argv: list[str] | None = None) -> None:
    """Gather, draw and fill.

    Raises:
        UserError: No folder has a result, or one has a seed twice.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="*", type=Path, help="folders of runs; none: fill alone")
    folders = parser.parse_args(argv).runs
    stems = gather(folders)
    if folders and not stems:
        raise UserError(f"Expected result.json in {folders[0]} or others, but found none")
    for stem in stems:
        picture = ROOT / "docs" / "img" / f"{stem}_curve.png"
        with written_whole(picture) as temporary:
            draw_curves(load_json(RESULTS / f"{stem}.json")).savefig(temporary, dpi=110)
        print(f"Wrote {picture}")
    for document, tables in blocks().items():
        fill(document, tables)


def gather(folders: list[Path]) -> list[str]:
    """Write the results of the runs into one file for each data set and budget; their stems."""
    files: dict[str, dict[str, list[dict]]] = defaultdict(lambda: defaultdict(list))
    for folder in sorted(folders):
        if (folder / "result.json").is_file():
            result = load_json(folder / "result.json")
            data = result["config"].rpartition("_")[2]
            files[f"real_{data}_{result['iterations']}"][result["config"]].append(result)
    for stem, found in files.items():
        check_runs(found)
        write_json(RESULTS / f"{stem}.json", dict(found))
    return list(files)


def blocks() -> dict[Path, dict[str, str]]:
    """The tables of the documents, by name, of the results that there are.

    Those of classes, learning curves and thresholds are of the budget that most detectors were
    trained for on each data set, the longest of such. A longer budget of fewer detectors has the
    first table and the curves, a shorter one the first alone.
    """
    tables, short = {}, {}
    for data in DATA:
        by_budget = {_budget(file): file.stem for file in RESULTS.glob(f"real_{data}_*[0-9].json")}
        if not by_budget:
            continue
        found = {b: load_json(RESULTS / f"{stem}.json") for b, stem in by_budget.items()}
        main_budget = max(found, key=lambda budget: (len(found[budget]), budget))
        for budget, stem in by_budget.items():
            tables[stem] = detectors_table(found[budget])
            if budget >= main_budget:
                tables[f"{stem}_curve"] = curve_table(found[budget])
        rows, stem = found[main_budget], by_budget[main_budget]
        tables[f"{stem}_classes"] = classes_table(rows)
        thresholds = RESULTS / f"{stem}_thresholds.json"
        if thresholds.is_file():
            tables[thresholds.stem] = thresholds_table(load_json(thresholds))
        if data == "bccd":
            short["real"] = short_table(rows)
    return {ROOT / "docs" / "experiments.md": tables, ROOT / "README.md": short}


def short_table(rows: dict[str, list[dict]]) -> str:
    """The figures of the blood cells that the README leads with."""
    names = {"AP": "AP", "AP50": "AP50", "AP75": "AP75", "oLRP": "oLRP (less is better)"}
    cells = [
        [*split_name(name), *figures([run["test"] for run in runs], kind, names)]
        for name, runs, kind in _each(rows)
    ]
    return markdown(["detector", "trained by", *names.values()], cells)


def detectors_table(rows: dict[str, list[dict]]) -> str:
    """All figures of every detector on the test set."""
    cells = []
    for name, runs, kind in _each(rows):
        tests = [run["test"] for run in runs]
        correlation = spread([run[kind]["correlation"] for run in tests], 1, 2)
        cells.append([*split_name(name), kind, *figures(tests, kind, FIGURES), correlation])
    return markdown(["detector", "trained by", "of", *FIGURES, "rank corr."], cells)


def classes_table(rows: dict[str, list[dict]]) -> str:
    """AP and oLRP of every class on the test set."""
    header, cells = [], []
    for name, runs, kind in _each(rows):
        classes = [run["test"][kind]["per_class"] for run in runs]
        header = [f"{key}, {name}" for name in classes[0] for key in ("AP", "oLRP")]
        values = [
            spread([found[label][key] for found in classes], 100, 1)
            for label in classes[0]
            for key in ("AP", "oLRP")
        ]
        cells.append([*split_name(name), kind, *values])
    return markdown(["detector", "trained by", "of", *header], cells)


def curve_table(rows: dict[str, list[dict]]) -> str:
    """AP on the validation set by the iteration."""
    header, cells = [], []
    for name, runs, kind in _each(rows):
        curves = [run["curve"] for run in runs]
        header = [f"AP at {point['iteration']}" for point in curves[0]]
        values = [
            spread([curve[place][f"{kind} AP"] for curve in curves], 100, 1)
            for place in range(len(header))
        ]
        cells.append([*split_name(name), kind, *values])
    return markdown(["detector", "trained by", "of", *header], cells)


def draw_curves(rows: dict[str, list[dict]]) -> Figure:
    """Draw AP on the validation set by the iteration, a panel for each detector.

    Lines are means of the seeds, in a band from the lowest to the highest of them.
    """
    panels = defaultdict(list)
    for name, runs, kind in _each(rows):
        detector, loss = split_name(name)
        panels[f"{detector}, {kind}"].append((loss, runs, f"{kind} AP"))
    figure = Figure(figsize=(2.9 * len(panels), 3), layout="constrained")
    lines = {}
    for axes, (title, found) in zip(
        figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels.items(), strict=True
    ):
        for loss, runs, key in found:
            points = [point["iteration"] for point in runs[0]["curve"]]
            at = list(zip(*([100 * p[key] for p in run["curve"]] for run in runs), strict=True))
            mean = [statistics.fmean(values) for values in at]
            colour = COLOURS[loss]
            (lines[loss],) = axes.plot(points, mean, marker="o", markersize=3, color=colour)
            low, high = [min(values) for values in at], [max(values) for values in at]
            axes.fill_between(points, low, high, color=colour, alpha=0.2, linewidth=0)
        axes.set_title(title, fontsize="medium")
        axes.set_xlabel("iteration")
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("AP in validation, percent")
    figure.legend(
        lines.values(), lines, loc="outside lower center", ncols=len(COLOURS), frameon=False
    )
    return figure


def thresholds_table(rows: dict[str, list[dict]]) -> str:
    """LRP Error, precision, recall and F1 on the test set by each rule of choosing thresholds."""
    cells = [
        [*split_name(name), rule, *(spread([r[rule][key] for r in runs], 100, 1) for key in JUDGED)]
        for name, runs in rows.items()
        for rule in RULES
    ]
    return markdown(["detector", "trained by", "thresholds", *JUDGED], cells)


def _each(rows: dict[str, list[dict]]) -> list[tuple[str, list[dict], str]]:
    """Configs with their runs, for boxes and masks apart; a detector's ranked one first."""
    ordered = sorted(rows, key=_order)
    return [(n, rows[n], kind) for n in ordered for kind in IOU_TYPES if kind in rows[n][0]["test"]]


def _budget(file: Path) -> int:
    return int(file.stem.rpartition("_")[2])


def _order(name: str) -> tuple[int, int]:
    detectors = ("atss", "retinanet", "faster-rcnn", "mask-rcnn")
    prefixes = ("rs-", "alrp-", "ap-", "")
    stem = name.split("_")[0]
    prefix = next(place for place, prefix in enumerate(prefixes) if stem.startswith(prefix))
    detector = stem.removeprefix(prefixes[prefix])
    return detectors.index(detector), prefix


if __name__ == "__main__":
    sys.exit(main())
