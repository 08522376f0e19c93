"""Writes the runs on the digits into the tables of ``docs/experiments.md`` and ``README.md``.

The runs are the JSON files of ``compare_detectors.py`` and ``run_grid.py`` in
``benchmarks/results/``; no figure in these tables is typed by hand.

Example:
    python experiments/digits_tables.py
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import video
from runs import FIGURES, IOU_TYPES, ROOT, spread

sys.path.append(str(ROOT / "benchmarks"))
from tables import fill, markdown

RESULTS = ROOT / "benchmarks" / "results"

#: Detectors by the names of their configs, in the order of the tables.
DETECTORS = {
    "atss": "ATSS",
    "paa": "PAA",
    "retinanet": "RetinaNet",
    "fcos": "FCOS",
    "foveabox": "FoveaBox",
    "faster-rcnn": "Faster R-CNN",
    "cascade-rcnn": "Cascade R-CNN",
    "deformable-detr": "Deformable DETR",
    "dino": "DINO",
    "mask-rcnn": "Mask R-CNN",
    "yolact": "YOLACT",
    "solov2": "SOLOv2",
}
LOSSES = {"rs": "RS Loss", "alrp": "aLRP Loss", "ap": "AP Loss", "": "MMDetection"}
#: Rows of thesis Table 8.3: config, and the samplers of RPN and R-CNN.
SAMPLERS = {
    "rs-faster-rcnn_r18_fpn_samplers_digits": ("random, 1:1", "random, 1:3"),
    "rs-faster-rcnn_r18_fpn_rcnn-sampler_digits": ("none", "random, 1:3"),
    "rs-faster-rcnn_r18_fpn_digits": ("none", "none"),
}
#: Names of rows and columns of the grids, where those of the cells are too short.
ROW_NAMES = {
    "4.1": {"right_skew": "right skew", "left_skew": "left skew", "base": "as drawn from 0.5 on"},
    "8.1": {"none": "none (1)", "iou": "IoU"},
}
COLUMN_NAMES = {
    "8.1": {
        **{str(weight): f"constant {weight}" for weight in (1, 2, 3)},
        "value": "by value",
        "magnitude": "by magnitude",
    }
}
#: What a row of a grid is, by the number of its table.
ROWS = {
    "4.1": "IoUs of generated positives",
    "4.3": "positives / negatives",
    "4.4": "IoU of a positive",
    "8.1": "instance weight",
    "8.4": "loss",
    "P.1": "delta",
    "N.2": "delta_loc",
    "sorting": "trained by",
}
#: Tables that were trained on the blood cells too.
CELLS = ("4.1", "4.3", "4.4")
#: Tables of which every cell is a row, with all figures.
FLAT = ("4.1",)
#: One table of a grid of two dimensions for each.
GRID_FIGURES = ("AP", "oLRP", "oLRP_Loc")


def main(argv: list[str] | None = None) -> int:
    """Fill all tables; return the exit code."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args(argv)
    for document, tables in blocks().items():
        fill(document, tables)
    return 0


def blocks() -> dict[Path, dict[str, str]]:
    """The tables of each document, by name."""
    boxes, masks = load("digits_boxes.json"), load("digits_masks.json")
    return {
        ROOT / "docs" / "experiments.md": {
            "boxes": detectors_table(boxes),
            "masks": detectors_table(masks),
            "samplers": samplers_table(load("digits_samplers.json")),
            **{
                f"grid {number}": grid_tables(number, load(f"digits_grid_{number}.json"))
                for number in ROWS
            },
            **{
                f"grid {number} bccd": grid_tables(number, load(f"bccd_grid_{number}.json"))
                for number in CELLS
            },
            "video": video_tables(load("digits_video.json")),
        },
        ROOT / "README.md": {"digits": short_table(boxes | masks)},
    }


def load(name: str) -> dict[str, list[dict]]:
    """The runs of a file of ``benchmarks/results/``, by config or cell."""
    return json.loads((RESULTS / name).read_text())


def video_tables(figures: dict) -> str:
    """The tables of ``video.py``."""
    return video.tables(figures["ways"], figures["thresholds"])


def split_name(name: str) -> tuple[str, str]:
    """The detector and the loss of a config.

    Example:
        >>> split_name("alrp-faster-rcnn_r18_fpn_digits")
        ('Faster R-CNN', 'aLRP Loss')
    """
    stem = name.split("_")[0]
    prefix, _, rest = stem.partition("-")
    if prefix in LOSSES:
        return DETECTORS[rest], LOSSES[prefix]
    return DETECTORS[stem], LOSSES[""]


def figures(runs: list[dict], kind: str, keys: tuple[str, ...]) -> list[str]:
    """Means and standard deviations in percent."""
    return [spread([run[kind][key] for run in runs], 100, 1) for key in keys]


def step_times() -> dict[str, str]:
    """Seconds of a training step by config, from ``training_step.py``: on a CPU, float32."""
    times = {}
    for result in load("training_cpu.json")["results"]:
        for kind in ("rank", "stock"):
            seconds = result["rows"][kind]["step_s"]["median"]
            times[Path(result[kind]).stem] = f"{seconds:.2f}"
    return times


def detectors_table(rows: dict[str, list[dict]]) -> str:
    """All figures of every detector, boxes and masks apart."""
    cells, times = [], step_times()
    for name, runs in rows.items():
        for kind in (kind for kind in IOU_TYPES if kind in runs[0]):
            correlation = spread([run[kind]["correlation"] for run in runs], 1, 2)
            values = [*figures(runs, kind, FIGURES), correlation, times.get(name, "-")]
            cells.append([*split_name(name), kind, *values])
    return markdown(["detector", "trained by", "of", *FIGURES, "rank corr.", "step, s"], cells)


def short_table(rows: dict[str, list[dict]]) -> str:
    """AP of each detector by RS Loss and by MMDetection's own losses."""
    cells, by_detector = [], {split_name(name): runs for name, runs in rows.items()}
    for title in DETECTORS.values():
        own, stock = (by_detector[title, LOSSES[prefix]] for prefix in ("rs", ""))
        for kind in (kind for kind in IOU_TYPES if kind in own[0]):
            label = f"{title}, {kind}" if "masks" in own[0] else title
            cells.append([label, *(figures(runs, kind, ("AP",))[0] for runs in (own, stock))])
    return markdown(["AP on the digits", "RS Loss", "MMDetection"], cells)


def samplers_table(rows: dict[str, list[dict]]) -> str:
    """Thesis Table 8.3: RS Loss with samplers and without."""
    cells = [
        [*SAMPLERS[name], *figures(rows[name], "boxes", ("AP", "AP50", "AP75", "oLRP"))]
        for name in SAMPLERS
    ]
    return markdown(["sampling in the RPN", "in the R-CNN", "AP", "AP50", "AP75", "oLRP"], cells)


def grid_tables(number: str, cells: dict[str, list[dict]]) -> str:
    """A table of the thesis, of the cells there are; of two dimensions, one for each figure.

    Args:
        number: Of the table.
        cells: Runs by name of the cell.
    """
    if number == "4.4":
        return higher_ious_table(cells)
    split = [name.split(" x ") for name in cells]
    if len(split[0]) == 1 or number in FLAT:
        rows = []
        for name, runs in cells.items():
            correlation = spread([run["boxes"]["correlation"] for run in runs], 1, 2)
            row, _, column = name.partition(" x ")
            label = [ROW_NAMES.get(number, {}).get(row, row), column]
            label = ", ".join(part for part in label if part not in ("", "neither"))
            rows.append([label, *figures(runs, "boxes", FIGURES), correlation])
        return markdown([ROWS[number], *FIGURES, "rank corr."], rows)
    names, columns = (list(dict.fromkeys(parts)) for parts in zip(*split, strict=True))
    header = [COLUMN_NAMES.get(number, {}).get(column, column) for column in columns]
    tables = []
    for figure in GRID_FIGURES:
        rows = []
        for name in names:
            of_row = [cells.get(f"{name} x {column}") for column in columns]
            values = [figures(runs, "boxes", (figure,))[0] if runs else "-" for runs in of_row]
            rows.append([ROW_NAMES.get(number, {}).get(name, name), *values])
        tables.append(markdown([f"{figure}: {ROWS[number]}", *header], rows))
    return "\n\n".join(tables)


def higher_ious_table(cells: dict[str, list[dict]]) -> str:
    """Thesis Table 4.4: each detector at the IoU from which on its positives count.

    Args:
        cells: Runs by ``IOU x SOURCE``.
    """
    rows: dict[str, dict[str, str]] = {}
    for name, runs in cells.items():
        iou, _, source = name.partition(" x ")
        at = [next(r for r in run["boxes"]["by_iou"] if r["tau"] == float(iou)) for run in runs]
        rows.setdefault(iou, {}).update(
            {
                f"AP at it, {source}": spread([row["AP"] for row in at], 100, 1),
                f"oLRP at it, {source}": spread([row["oLRP"] for row in at], 100, 1),
                f"AP, {source}": figures(runs, "boxes", ("AP",))[0],
            }
        )
    # The figures of one source beside those of the other: Python's sort keeps their order.
    header = sorted(next(iter(rows.values())), key=lambda title: title.partition(",")[0])
    return markdown(
        [ROWS["4.4"], *header], [[iou, *(row[key] for key in header)] for iou, row in rows.items()]
    )


if __name__ == "__main__":
    sys.exit(main())
