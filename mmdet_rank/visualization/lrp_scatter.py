"""Misses against false alarms, category by category."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["draw_fp_fn", "plot_fp_fn"]

_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "black", "0.55")


def plot_fp_fn(axes: Axes, groups: Mapping[str, Mapping[str, Mapping]]) -> None:
    """Draw the false positive over the false negative error of each category (thesis Fig. 5.8).

    Args:
        axes: where to draw.
        groups: ``per_class`` entries of LRP reports, by what to tell apart by colour.
    """
    axes.plot([0, 1], [0, 1], color="0.7", lw=0.8)
    for (label, values), color in zip(groups.items(), _COLORS * len(groups), strict=False):
        points = [
            (v.get("oLRP_FN", v.get("LRP_FN")), v.get("oLRP_FP", v.get("LRP_FP")))
            for v in values.values()
        ]
        points = [point for point in points if None not in point]
        if points:
            axes.plot(*np.transpose(points), "o", color=color, ms=4, alpha=0.7, label=label)
    axes.set_xlabel("false negative error (1 - recall)")
    axes.set_ylabel("false positive error (1 - precision)")
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_aspect("equal")
    axes.spines[["top", "right"]].set_visible(False)
    if len(groups) > 1:
        axes.legend(frameon=False, fontsize=8)


def draw_fp_fn(reports: Mapping[str, Mapping]) -> Figure:
    """Draw `plot_fp_fn` of detectors, by name, as a picture of its own."""
    figure = Figure(figsize=(5.2, 5.4), layout="constrained")
    plot_fp_fn(figure.subplots(), {name: report["per_class"] for name, report in reports.items()})
    figure.suptitle("misses and false alarms of each category")
    return figure
