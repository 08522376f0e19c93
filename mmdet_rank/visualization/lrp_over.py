"""Figures of one detector over a number: F1 over the confidence, oLRP over tau."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmdet_rank.evaluation.f1 import F1Curve, best_f1, f1_curves, mean_f1_curve
from mmdet_rank.evaluation.report import F1_TAU, Evaluation

from .lrp_components import COLORS, LABELS
from .lrp_curves import CLASS_COLORS, highlighted, legend_below, plot_pr

__all__ = ["draw_f1", "draw_over_tau", "draw_pr_and_f1", "plot_f1"]


def draw_pr_and_f1(evaluation: Evaluation, title: str = "") -> Figure:
    """Draw precision-recall curves, and precision, recall and F1 over the confidence beside.

    Args:
        evaluation: the evaluated detector.
        title: heading, such as the name of the detector.
    """
    figure = Figure(figsize=(12, 5.6), layout="constrained")
    curves, f1 = figure.subplots(1, 2)
    plot_pr(curves, evaluation, highlighted(evaluation))
    curves.set_title(f"at tau {evaluation.tau:g}, x marks oLRP", fontsize=10)
    if curves.get_legend_handles_labels()[0]:
        curves.legend(fontsize=8, loc="lower left")
    plot_f1(f1, evaluation)
    figure.suptitle(f"{title}: " * bool(title) + "precision and recall; F1 at IoU 0.5")
    return figure


def plot_f1(axes: Axes, evaluation: Evaluation) -> None:
    """Draw precision, recall and F1 over the confidence, means over the categories, at IoU 0.5."""
    matches = evaluation.matches_at(F1_TAU)
    curve, best = mean_f1_curve(matches, tau=F1_TAU), best_f1(matches, tau=F1_TAU)
    for quantity, label, color in (
        ("precision", "precision", COLORS["FP"]),
        ("recall", "recall", COLORS["FN"]),
        ("f1", "F1", "black"),
    ):
        _plot_steps(axes, curve, quantity, color=color, label=label)
    if not np.isnan(best.threshold):
        axes.axvline(best.threshold, color="0.5", lw=0.8, ls="--")
        axes.plot(best.threshold, best.mean.f1, "x", color="black", ms=8, mew=2.2)
        axes.set_title(
            f"best mean F1 {best.mean.f1:.3f} at {best.threshold:.3f}: "
            f"precision {best.mean.precision:.3f}, recall {best.mean.recall:.3f}",
            fontsize=10,
        )
    axes.set_xlabel("confidence from which detections are kept")
    axes.set_ylim(-0.02, 1.02)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)


def draw_f1(evaluation: Evaluation, names: Sequence[str] | None = None, title: str = "") -> Figure:
    """Draw precision, recall and F1 over the confidence, of every category and the means.

    A dashed line marks the confidence of the best mean F1, a cross the mean there.

    Args:
        evaluation: the evaluated detector, with matches at IoU 0.5.
        names: categories in colour, the others are grey; by default some from the best to the
            worst.
        title: heading, such as the name of the detector.
    """
    names = highlighted(evaluation) if names is None else names
    matches = evaluation.matches_at(F1_TAU)
    curves, mean = f1_curves(matches, tau=F1_TAU), mean_f1_curve(matches, tau=F1_TAU)
    best = best_f1(matches, tau=F1_TAU)
    figure = Figure(figsize=(13, 4.8), layout="constrained")
    panels = zip(figure.subplots(1, 3), ("precision", "recall", "f1"), strict=True)
    for axes, quantity in panels:
        for name in [n for n in curves if n not in names] + list(names):
            in_color = name in names
            color = CLASS_COLORS[list(names).index(name) % len(CLASS_COLORS)] if in_color else "0.8"
            label = name if in_color else None
            _plot_steps(axes, curves[name], quantity, color=color, lw=1.0, label=label)
        _plot_steps(axes, mean, quantity, color="black", lw=2.0, label="mean")
        axes.set_xlabel("confidence from which detections are kept")
        axes.set_ylabel("F1" if quantity == "f1" else quantity)
        axes.set_ylim(-0.02, 1.02)
        axes.spines[["top", "right"]].set_visible(False)
        if not np.isnan(best.threshold):
            value = getattr(best.mean, quantity)
            axes.axvline(best.threshold, color="0.5", lw=0.8, ls="--")
            axes.plot(best.threshold, value, "x", color="black", ms=9, mew=2.4)
            axes.set_title(f"{value:.3f} at {best.threshold:.3g}", fontsize=10)
    figure.suptitle(f"{title}: " * bool(title) + "IoU 0.5, x marks the best mean F1")
    legend_below(figure)
    return figure


def _plot_steps(axes: Axes, curve: F1Curve, quantity: str, **style: Any) -> None:
    # Scores descend; a threshold between two of them keeps what the higher one keeps.
    axes.plot(curve.thresholds, getattr(curve, quantity), drawstyle="steps-post", **style)


def draw_over_tau(over_tau: Sequence[Mapping[str, Any]], title: str = "") -> Figure:
    """Draw (optimal) LRP and its components over tau (thesis Fig. H.2, the mean).

    Args:
        over_tau: ``over_tau`` of a report, panoptic or not, or of :meth:`Evaluation.over_tau`.
        title: heading, such as the name of the detector.
    """
    rows = sorted(over_tau, key=lambda row: row["tau"])
    figure = Figure(figsize=(7, 4.6), layout="constrained")
    axes = figure.subplots()
    error = "oLRP" if "oLRP" in rows[0] else "LRP"
    colors = {error: "black"} | {f"{error}_{key}": color for key, color in COLORS.items()}
    names = {error: error} | {f"{error}_{key}": label for key, label in LABELS.items()}
    for key, color in colors.items():
        values = [np.nan if row[key] is None else row[key] for row in rows]
        axes.plot([row["tau"] for row in rows], values, "o-", color=color, label=names[key], ms=4)
    axes.set_xlabel("tau, the localisation quality from which on a match counts")
    axes.set_ylabel("mean error over the categories")
    axes.set_ylim(-0.02, 1.02)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    kind = "optimal LRP" if error == "oLRP" else "LRP"
    figure.suptitle(f"{title}: " * bool(title) + f"{kind} over tau")
    return figure
