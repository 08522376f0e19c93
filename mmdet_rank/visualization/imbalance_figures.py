"""Pictures of the imbalance of a data set and of what a detector makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

__all__ = [
    "draw_aspect_ratios",
    "draw_batches",
    "draw_classes",
    "draw_error_shares",
    "draw_histogram",
    "draw_levels",
    "draw_paces",
    "draw_places",
    "draw_regression",
    "draw_shares",
]

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#E69F00", "#009E73", "0.6"
_TASKS = {"classification": ORANGE, "boxes": GREEN, "masks": "#CC79A7"}
_SIZE = (5.2, 3.2)
_MOST_CLASSES = 40


def draw_classes(report: Mapping[str, Any]) -> Figure:
    """Objects of each class, most first, on a logarithmic scale."""
    ranked = sorted(report["per_class"].items(), key=lambda item: -item[1]["objects"])
    figure = Figure(figsize=(10.6, 3.4), layout="constrained")
    axes = figure.subplots()
    counts = [values["objects"] for _, values in ranked]
    axes.bar(range(len(ranked)), np.maximum(counts, 0.5), color=BLUE, width=0.85)
    axes.axhline(report["classes"]["mean_objects"], color=ORANGE, lw=1.2, label="mean")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    _class_names(axes, [name for name, _ in ranked])
    axes.set_ylabel("objects")
    axes.legend(frameon=False)
    return _plain(figure)


def draw_batches(report: Mapping[str, Any]) -> Figure:
    """Share of batches that hold each class, as it is and with ClassBalancedDataset."""
    ranked = sorted(report["per_class"].items(), key=lambda item: -item[1]["in_batch"])
    figure = Figure(figsize=(10.6, 3.2), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(ranked))
    axes.bar(places - 0.2, [v["in_batch"] for _, v in ranked], 0.4, color=GREY, label="as it is")
    axes.bar(
        places + 0.2,
        [v["in_batch_balanced"] for _, v in ranked],
        0.4,
        color=GREEN,
        label="ClassBalancedDataset",
    )
    _class_names(axes, [name for name, _ in ranked])
    axes.set_ylabel(f"batches of {report['classes']['batch_size']}\nthat hold the class")
    axes.set_ylim(0, 1.02)
    figure.legend(frameon=False, loc="outside upper right", ncols=2)
    return _plain(figure)


def draw_histogram(
    histogram: Mapping[str, Any], label: str, unit: str, log: bool = False
) -> Figure:
    """One histogram.

    Args:
        histogram: ``edges`` and ``counts``.
        label: of the horizontal axis.
        unit: what is counted.
        log: whether the counts stand on a logarithmic scale.
    """
    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.subplots()
    axes.stairs(histogram["counts"], histogram["edges"], fill=True, color=BLUE)
    if log:
        axes.set_yscale("symlog", linthresh=1)
    axes.set_xlabel(label)
    axes.set_ylabel(unit)
    return _plain(figure)


def draw_aspect_ratios(histogram: Mapping[str, Any]) -> Figure:
    """Ratios of width to height, from 1:16 to 16:1."""
    figure = draw_histogram(histogram, "width : height", "objects")
    ticks = [-4, -3, -2, -1, 0, 1, 2, 3, 4]
    names = [f"{2**t}:1" if t > 0 else f"1:{2**-t}" for t in ticks]
    figure.axes[0].set_xticks(ticks, names)
    return figure


def draw_places(places: Mapping[str, Any]) -> Figure:
    """Heat map of the objects' centres."""
    figure = Figure(figsize=(4.2, 3.4), layout="constrained")
    axes = figure.subplots()
    heat = np.array(places["heat_map"], dtype=float)
    heat *= heat.size / heat.sum()
    drawn = axes.imshow(heat, cmap="viridis", extent=(0, 1, 1, 0), vmin=0)
    figure.colorbar(drawn, ax=axes, label="times the even spread")
    axes.set_xlabel("x of the centre, of the width")
    axes.set_ylabel("y, of the height")
    return figure


def draw_levels(priors: Mapping[str, Any]) -> Figure:
    """Positive and negative priors of each pyramid level, per image."""
    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.subplots()
    levels = priors["per_level"]
    places = np.arange(len(levels))
    axes.bar(places - 0.2, [v["positives"] for v in levels], 0.4, color=BLUE, label="objects")
    axes.bar(places + 0.2, [v["negatives"] for v in levels], 0.4, color=GREY, label="background")
    axes.set_yscale("symlog", linthresh=1)
    axes.set_xticks(places, [f"stride {v['stride']}" for v in levels])
    axes.set_ylabel("priors per image")
    axes.legend(frameon=False)
    return _plain(figure)


def draw_shares(training: Mapping[str, Any]) -> Figure:
    """Shares of the loss by task, and of classification gradients by sign, as bars."""
    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.subplots()
    rows = {"loss": list(training["task_shares"].items())}
    for name, shares in training["classification"].items():
        rows[name] = [("raises scores", shares["raising"]), ("lowers scores", shares["lowering"])]
    colors = _TASKS | {"raises scores": BLUE, "lowers scores": GREY}
    for row, parts in enumerate(rows.values()):
        left = 0.0
        for name, share in parts:
            axes.barh(row, share, left=left, color=colors[name], height=0.6)
            if share > 0.1:
                axes.text(left + share / 2, row, name, ha="center", va="center", fontsize=8)
            left += share
    axes.set_yticks(range(len(rows)), list(rows))
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel("share")
    return _plain(figure)


def draw_regression(training: Mapping[str, Any]) -> Figure:
    """IoU of positives before and after box regression (thesis Fig. 3.12)."""
    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.subplots()
    for key, color in (("iou_before", GREY), ("iou_after", GREEN)):
        values = training[key]
        axes.stairs(
            values["counts"], values["edges"], color=color, lw=1.8, label=key.replace("iou_", "")
        )
    axes.set_xlabel("IoU with the object")
    axes.set_ylabel("positive priors")
    axes.legend(frameon=False, title="regression", loc="upper left")
    return _plain(figure)


def draw_error_shares(training: Mapping[str, Any]) -> Figure:
    """Shares of positives and of their L1 and L2 errors, by IoU after regression (Fig. 3.11)."""
    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.subplots()
    shares = training["regression_errors"]
    centers = (np.array(shares["edges"][1:]) + shares["edges"][:-1]) / 2
    for place, (key, color) in enumerate((("boxes", GREY), ("L1", BLUE), ("L2", ORANGE))):
        axes.bar(centers + 0.028 * (place - 1), shares[key], 0.028, color=color, label=key)
    axes.set_xlabel("IoU with the object after regression")
    axes.set_ylabel("share")
    axes.legend(frameon=False)
    return _plain(figure)


def draw_paces(paces: Mapping[str, Any]) -> Figure:
    """Losses of the tasks over those at first, by iteration (thesis Fig. 3.17)."""
    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.subplots()
    for task, values in paces["relative"].items():
        axes.plot(
            paces["iterations"], np.array(values, float), color=_TASKS[task], lw=1.8, label=task
        )
    axes.set_xlabel("iteration")
    axes.set_ylabel("loss, of the first logged")
    axes.set_ylim(0, None)
    axes.legend(frameon=False)
    return _plain(figure)


def _class_names(axes: Axes, names: list[str]) -> None:
    axes.set_xlim(-0.7, len(names) - 0.3)
    if len(names) > _MOST_CLASSES:
        axes.set_xticks([])
        axes.set_xlabel(f"{len(names)} classes, from {names[0]} to {names[-1]}")
        return
    turned = max(map(len, names)) * len(names) > 90
    axes.set_xticks(
        range(len(names)),
        [name if len(name) < 24 else f"{name[:22]}..." for name in names],
        rotation=60 if turned else 0,
        ha="right" if turned else "center",
        rotation_mode="anchor" if turned else None,
    )


def _plain(figure: Figure) -> Figure:
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    return figure
