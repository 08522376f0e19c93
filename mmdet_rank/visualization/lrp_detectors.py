"""Several detectors in one picture: s-LRP and PR curves, thresholds, interpolation."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mmdet_rank.evaluation.average_precision import average_precision
from mmdet_rank.evaluation.report import Evaluation
from mmdet_rank.evaluation.steps import mean_steps

from .lrp_curves import PANELS

__all__ = ["draw_interpolation", "draw_pr_detectors", "draw_s_lrp_detectors", "draw_thresholds"]

_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "black", "0.55")
# What a category's curve is above its highest score, where nothing is kept.
_BEFORE = {"loc": float("nan"), "fp": float("nan"), "fn": 1.0, "lrp": 1.0}


def draw_s_lrp_detectors(
    evaluations: Mapping[str, Evaluation], category: str | None = None
) -> Figure:
    """Draw LRP Error and its components of detectors over the score (thesis Fig. 5.9).

    Args:
        evaluations: by name of the detector.
        category: of which; by default the means over the categories. A cross marks where LRP is
            least: oLRP for a category; for means the best single threshold, which is above the mean
            of oLRP, since that has a threshold for each category.
    """
    figure = Figure(figsize=(9, 6.8), layout="constrained")
    for axes, quantity in zip(figure.subplots(2, 2).flat, PANELS, strict=True):
        for name, evaluation in evaluations.items():
            color = _color(evaluations, name)
            thresholds, lrp = _over_score(evaluation, category, "lrp")
            _, values = _over_score(evaluation, category, quantity)
            axes.plot(thresholds, values, color=color, lw=1.4, label=name, drawstyle="steps-post")
            if thresholds.size and lrp.min() < 1:
                best = int(np.argmin(lrp))
                axes.plot(thresholds[best], values[best], "x", color=color, ms=8, mew=2.2)
        axes.set_xlabel("score threshold s")
        axes.set_ylabel(PANELS[quantity])
        axes.set_ylim(-0.02, 1.02)
    figure.suptitle(_heading("errors over the score threshold", category))
    return _finished(figure)


def draw_pr_detectors(evaluations: Mapping[str, Evaluation], category: str | None = None) -> Figure:
    """Draw precision over recall of detectors at tau (thesis Fig. 5.6).

    Args:
        evaluations: by name of the detector.
        category: of which, with a cross at oLRP and without interpolation; by default the mean over
            the categories, of interpolated precision at 101 recalls.
    """
    figure = Figure(figsize=(6, 5.6), layout="constrained")
    axes = figure.subplots()
    for name, evaluation in evaluations.items():
        color = _color(evaluations, name)
        if category is None:
            axes.plot(*_mean_precision(evaluation), color=color, lw=1.4, label=name)
            continue
        curve, optimal = evaluation.curve(category), evaluation.optimal()[category]
        axes.plot(1 - curve.fn, 1 - curve.fp, color=color, lw=1.4, label=name)
        if not np.isnan(optimal.threshold):
            axes.plot(1 - optimal.fn, 1 - optimal.fp, "x", color=color, ms=8, mew=2.2)
    axes.set_xlabel("recall")
    axes.set_ylabel("precision")
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    tau = next(iter(evaluations.values())).tau
    heading = _heading(f"precision and recall at tau {tau:g}", category)
    figure.suptitle(heading)
    return _finished(figure)


def draw_thresholds(evaluations: Mapping[str, Evaluation]) -> Figure:
    """Draw how the LRP-optimal thresholds of detectors spread over categories (Fig. 5.10)."""
    figure = Figure(figsize=(7, 1.3 + 0.55 * max(len(evaluations), 2)), layout="constrained")
    axes = figure.subplots()
    for row, (name, evaluation) in enumerate(evaluations.items()):
        values = np.array([v.threshold for v in evaluation.optimal().values()])
        values = values[~np.isnan(values)]
        color = _color(evaluations, name)
        offsets = 0.22 * np.sin(np.arange(values.size) * 2.4)
        axes.plot(values, row + offsets, "o", color=color, ms=3.5, alpha=0.6)
        if values.size:
            axes.plot([np.median(values)] * 2, [row - 0.38, row + 0.38], color=color, lw=2.2)
    axes.set_yticks(range(len(evaluations)), list(evaluations))
    axes.set_ylim(len(evaluations) - 0.4, -0.6)
    axes.set_xlabel("LRP-optimal score threshold of each category; a line at the median")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def draw_interpolation(evaluations: Mapping[str, Evaluation], categories: int = 2) -> Figure:
    """Draw how much of AP is interpolation, for categories of most and fewest objects (Fig. 5.7).

    Args:
        evaluations: by name of the detector; AP is the mean over all taus that were evaluated.
        categories: how many of each kind.
    """
    first = next(iter(evaluations.values()))
    ranked = sorted(
        (name for name, m in first.matches["all"].items() if m.num_gt),
        key=lambda name: -first.matches["all"][name].num_gt,
    )
    few = ranked[max(categories, len(ranked) - categories) :]
    names = list(dict.fromkeys([*ranked[:categories], *few]))
    figure = Figure(figsize=(7.5, 1.4 + 0.34 * len(names) * len(evaluations)), layout="constrained")
    axes = figure.subplots()
    labels: list[str] = []
    for category in names:
        for name, evaluation in evaluations.items():
            exact, interpolated = (_ap(evaluation, category, how) for how in (False, True))
            row = len(labels)
            axes.barh(row, 100 * exact, color="#D55E00", height=0.75)
            added = 100 * (interpolated - exact)
            axes.barh(row, added, left=100 * exact, color="#56B4E9", height=0.75)
            axes.text(
                100 * max(interpolated, exact) + 0.5,
                row,
                f"{round(added, 1) + 0.0:+.1f}",
                va="center",
            )
            labels.append(f"{category} ({first.matches['all'][category].num_gt}), {name}")
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 108)
    axes.set_xlabel("AP in percent without interpolation, and what interpolation adds")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _over_score(
    evaluation: Evaluation, category: str | None, quantity: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if category is not None:
        curve = evaluation.curve(category)
        return curve.thresholds, getattr(curve, quantity)
    curves = [evaluation.curve(n) for n, m in evaluation.matches["all"].items() if m.num_gt > 0]
    scores, values = ([getattr(c, key) for c in curves] for key in ("thresholds", quantity))
    return mean_steps(scores, values, before=_BEFORE[quantity])


def _mean_precision(evaluation: Evaluation) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    recalls = np.linspace(0, 1, 101)
    rows = []
    for name, matched in evaluation.matches["all"].items():
        if matched.num_gt > 0:
            curve = evaluation.curve(name)
            greatest = np.maximum.accumulate((1 - curve.fp)[::-1])[::-1]
            places = np.searchsorted(1 - curve.fn, recalls - 1e-12, side="left")
            rows.append(np.append(greatest, 0.0)[places])
    return np.asarray(recalls), np.asarray(np.mean(rows, axis=0) if rows else np.zeros(101))


def _ap(evaluation: Evaluation, category: str, interpolated: bool) -> float:
    values = []
    for tau in evaluation.taus or (evaluation.tau,):
        matched = evaluation.matches_at(tau)[category]
        values.append(
            average_precision(
                matched.scores, matched.is_tp, matched.num_gt, interpolated=interpolated
            )
        )
    return float(np.mean(values))


def _color(evaluations: Mapping[str, Evaluation], name: str) -> str:
    return _COLORS[list(evaluations).index(name) % len(_COLORS)]


def _heading(text: str, category: str | None) -> str:
    return f"{category}: {text}" if category else f"{text}, mean over the categories"


def _finished(figure: Figure) -> Figure:
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=8)
    return figure
