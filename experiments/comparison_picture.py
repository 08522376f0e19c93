"""Detectors beside each other: the figures of every run, and their means."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.patches import Patch

__all__ = ["draw_comparison"]

_RANKING, _OTHER = "#4c9bd0", "#bbbbbb"
_PANELS = {"AP": "AP, percent (more is better)", "oLRP": "oLRP, percent (less is better)"}


def draw_comparison(
    rows: Mapping[str, Sequence[Mapping[str, float]]], ranked: Sequence[str]
) -> Figure:
    """Draw AP and oLRP of several detectors as bars: their means, with a point for each run.

    Args:
        rows: For each detector, one mapping per run with ``AP`` and ``oLRP`` in [0, 1].
        ranked: Detectors that are trained by a ranking loss, in another colour.

    Raises:
        ValueError: If there is no detector, or one without a run.
    """
    if not rows or not all(rows.values()):
        counts = {name: len(runs) for name, runs in rows.items()}
        raise ValueError(
            f"Expected detectors with at least one run each, but got {counts} runs; give the "
            "results of a comparison."
        )
    figure = Figure(figsize=(9, 1.1 + 0.28 * len(rows)), layout="constrained")
    colours = [_RANKING if name in ranked else _OTHER for name in rows]
    for axes, (key, title) in zip(figure.subplots(1, 2, sharey=True), _PANELS.items(), strict=True):
        runs = [[100 * run[key] for run in row] for row in rows.values()]
        axes.barh(list(rows), [statistics.fmean(values) for values in runs], color=colours)
        points = [(value, index) for index, values in enumerate(runs) for value in values]
        axes.plot(*zip(*points, strict=True), linestyle="", marker="|", color="black")
        axes.set_title(title, fontsize="medium")
        axes.grid(axis="x", alpha=0.3)
        axes.set_axisbelow(True)
    axes.invert_yaxis()
    legend = [Patch(color=_RANKING, label="ranking loss"), Patch(color=_OTHER, label="other")]
    figure.legend(handles=legend, loc="outside lower center", ncols=2, frameon=False)
    return figure
