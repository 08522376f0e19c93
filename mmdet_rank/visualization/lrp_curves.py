"""s-LRP curves and precision-recall curves with the point of optimal LRP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmdet_rank.evaluation.report import Evaluation

__all__ = [
    "CLASS_COLORS",
    "draw_pr_curves",
    "draw_s_lrp_curves",
    "highlighted",
    "legend_below",
    "plot_pr",
    "plot_s_lrp",
]

#: Of categories that stand out among the grey ones.
CLASS_COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")
PANELS = {
    "loc": "localisation error",
    "fp": "false positive rate (1 - precision)",
    "fn": "false negative rate (1 - recall)",
    "lrp": "LRP",
}


def highlighted(evaluation: Evaluation, count: int = 6) -> list[str]:
    """Return up to `count` categories from best to worst oLRP, evenly spread between the two."""
    ranked = sorted(evaluation.optimal().items(), key=lambda item: (item[1].lrp, item[0]))
    picks = np.unique(np.linspace(0, len(ranked) - 1, min(count, len(ranked))).round().astype(int))
    return [ranked[i][0] for i in picks]


def plot_s_lrp(
    axes: Axes, evaluation: Evaluation, names: Sequence[str], quantity: str = "lrp"
) -> None:
    """Draw LRP or one of its components against the score threshold, with the optimum as a cross.

    Args:
        axes: where to draw.
        evaluation: the evaluated detector.
        names: categories to draw in colour; all others are thin grey lines.
        quantity: ``lrp``, ``loc``, ``fp`` or ``fn``.
    """
    optimal = evaluation.optimal()
    for name in [n for n in optimal if n not in names] + list(names):
        curve = evaluation.curve(name)
        if not curve.thresholds.size:
            continue
        # Scores descend; a threshold between two of them keeps what the higher one keeps.
        steps: dict[str, Any] = {"drawstyle": "steps-post"}
        values = getattr(curve, quantity)
        if name not in names:
            axes.plot(curve.thresholds, values, color="0.85", lw=0.6, zorder=1, **steps)
            continue
        color = CLASS_COLORS[list(names).index(name) % len(CLASS_COLORS)]
        axes.plot(curve.thresholds, values, color=color, lw=1.4, label=name, zorder=2, **steps)
        if not np.isnan(optimal[name].threshold):
            point = optimal[name].threshold, getattr(optimal[name], quantity)
            axes.plot(*point, "x", color=color, ms=8, mew=2.2, zorder=3)
    axes.set_xlabel("score threshold s")
    axes.set_ylabel(PANELS[quantity])
    axes.set_ylim(-0.02, 1.02)
    axes.spines[["top", "right"]].set_visible(False)


def plot_pr(axes: Axes, evaluation: Evaluation, names: Sequence[str]) -> None:
    """Draw precision against recall at tau, with the point of optimal LRP as a cross.

    Precision is not interpolated. Arguments as in :func:`plot_s_lrp`.
    """
    optimal = evaluation.optimal()
    for name in [n for n in optimal if n not in names] + list(names):
        curve = evaluation.curve(name)
        recall, precision = 1 - curve.fn, 1 - curve.fp
        if name not in names:
            axes.plot(recall, precision, color="0.85", lw=0.6, zorder=1)
            continue
        color = CLASS_COLORS[list(names).index(name) % len(CLASS_COLORS)]
        axes.plot(recall, precision, color=color, lw=1.4, label=name, zorder=2)
        if not np.isnan(optimal[name].threshold):
            point = 1 - optimal[name].fn, 1 - optimal[name].fp
            axes.plot(*point, "x", color=color, ms=8, mew=2.2, zorder=3)
    axes.set_xlabel("recall")
    axes.set_ylabel("precision")
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.spines[["top", "right"]].set_visible(False)


def draw_s_lrp_curves(
    evaluation: Evaluation, names: Sequence[str] | None = None, title: str = ""
) -> Figure:
    """Draw the s-LRP curves and those of the components (thesis Fig. 5.9).

    Args:
        evaluation: the evaluated detector.
        names: categories in colour; by default some from the best to the worst.
        title: heading, such as the name of the detector.
    """
    names = highlighted(evaluation) if names is None else names
    figure = Figure(figsize=(9, 6.6), layout="constrained")
    for axes, quantity in zip(figure.subplots(2, 2).flat, PANELS, strict=True):
        plot_s_lrp(axes, evaluation, names, quantity)
    figure.suptitle(f"{title}: " * bool(title) + "errors over the score threshold, x marks oLRP")
    legend_below(figure)
    return figure


def draw_pr_curves(
    evaluation: Evaluation, names: Sequence[str] | None = None, title: str = ""
) -> Figure:
    """Draw precision-recall curves with the points of optimal LRP (thesis Fig. 5.6)."""
    names = highlighted(evaluation) if names is None else names
    figure = Figure(figsize=(6, 5.6), layout="constrained")
    plot_pr(figure.subplots(), evaluation, names)
    tau = f"at tau {evaluation.tau:g}, x marks oLRP"
    figure.suptitle(f"{title}: " * bool(title) + f"precision and recall {tau}")
    legend_below(figure)
    return figure


def legend_below(figure: Figure) -> None:
    """Put the legend of the first axes below all, unless it is empty."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8)
