"""One page about a detector that can be read in a minute."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mmdet_rank.evaluation.report import Evaluation, percent

from .lrp_components import ErrorShares, class_shares, plot_shares
from .lrp_curves import highlighted, plot_pr, plot_s_lrp
from .lrp_scatter import plot_fp_fn

__all__ = ["draw_overview", "draw_panoptic_overview"]

_NUM_ROWS = 12


def draw_overview(evaluation: Evaluation, title: str = "") -> Figure:
    """Draw the figures, the worst and best categories, s-LRP and PR curves, and the thresholds."""
    report = evaluation.report()
    figure = Figure(figsize=(12, 8.6), layout="constrained")
    grid = figure.add_gridspec(2, 6)
    _write_heading(
        figure,
        title,
        f"oLRP {percent(report['oLRP'])}   localisation {percent(report['oLRP_Loc'])}   "
        f"false positives {percent(report['oLRP_FP'])}   "
        f"false negatives {percent(report['oLRP_FN'])}   |   "
        f"AP {percent(report['AP'])}   AP50 {percent(report['AP50'])}   "
        f"AP75 {percent(report['AP75'])}",
    )
    _plot_classes(figure.add_subplot(grid[0, :4]), report)
    _plot_sizes(figure.add_subplot(grid[0, 4:]), report)
    names = highlighted(evaluation, 4)
    curves = figure.add_subplot(grid[1, :2])
    plot_s_lrp(curves, evaluation, names)
    curves.set_title("LRP over the threshold; x: best", fontsize=10)
    curves.legend(fontsize=7, loc="lower left")
    pr = figure.add_subplot(grid[1, 2:4])
    plot_pr(pr, evaluation, names)
    pr.set_title("precision and recall; x: oLRP", fontsize=10)
    _plot_thresholds(figure.add_subplot(grid[1, 4:]), report)
    return figure


def draw_panoptic_overview(report: Mapping, title: str = "") -> Figure:
    """Draw the figures of a panoptic report, and its worst and best categories.

    Beside them misses and false alarms, things and stuff told apart (thesis Fig. 5.8).
    """
    figure = Figure(figsize=(12, 5.2), layout="constrained")
    figures = "   ".join(
        f"{group}: LRP {percent(report[group]['LRP'])}, PQ {percent(report[group]['PQ'])}"
        for group in ("all", "things", "stuff")
    )
    _write_heading(figure, title, figures)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    _plot_classes(left, report)
    groups: dict[str, dict] = {"things": {}, "stuff": {}}
    for name, values in report["per_class"].items():
        groups["things" if report["is_thing"][name] else "stuff"][name] = values
    plot_fp_fn(right, groups)
    right.set_title("misses and false alarms", fontsize=10)
    return figure


def _write_heading(figure: Figure, title: str, figures: str) -> None:
    heading = f"{title}\n" if title else ""
    figure.suptitle(f"{heading}{figures}\n(percent; LRP is an error: lower is better)", fontsize=12)


def _plot_classes(axes: Axes, report: Mapping) -> None:
    """Draw the worst categories and the best ones, with a gap where there are more."""
    shares = class_shares(report)
    names = list(shares)
    if len(names) > _NUM_ROWS:
        half = _NUM_ROWS // 2
        shown = [*names[:half], "...", *names[-half:]]
    else:
        shown = names
    empty = ErrorShares(0.0, 0.0, 0.0)
    plot_shares(axes, shown, [shares.get(name, empty) for name in shown])
    for text, name in zip(list(axes.texts), shown, strict=True):
        if name == "...":
            text.remove()
    axes.set_title("error by category", fontsize=10, loc="left")
    axes.set_xlabel("LRP Error in percent, and what it is made of")
    axes.legend(fontsize=8, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, frameon=False)


def _plot_sizes(axes: Axes, report: Mapping) -> None:
    """Draw oLRP by the size of the objects."""
    sizes = {"small": "oLRP_s", "medium": "oLRP_m", "large": "oLRP_l", "all": "oLRP"}
    values = [report[key] for key in sizes.values()]
    heights = [100 * value if value is not None else 0 for value in values]
    bars = axes.bar(list(sizes), heights, color=["0.75", "0.6", "0.45", "0.2"], width=0.7)
    axes.bar_label(bars, [percent(value) for value in values], fontsize=9)
    axes.set_ylim(0, 108)
    axes.set_ylabel("oLRP in percent")
    axes.set_title("error by size of the objects", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)


def _plot_thresholds(axes: Axes, report: Mapping) -> None:
    """Draw how the LRP-optimal thresholds spread over the categories (thesis Fig. 5.10)."""
    thresholds = [
        v["threshold"] for v in report["per_class"].values() if v["threshold"] is not None
    ]
    low, high = min([0.0, *thresholds]), max([1.0, *thresholds])
    axes.hist(thresholds, bins=20, range=(low, high), color="0.4")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("LRP-optimal score threshold")
    axes.set_ylabel("number of categories")
    axes.set_title("where to cut the scores", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
