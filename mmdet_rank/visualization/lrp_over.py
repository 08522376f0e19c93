"""Figures of one detector over a number: F1 over the confidence, oLRP over tau."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmdet_rank.evaluation.f1 import best_f1, mean_f1_curve
from mmdet_rank.evaluation.report import F1_TAU, Evaluation

from .lrp_components import COLORS, LABELS
from .lrp_curves import highlighted, plot_pr

__all__ = ["draw_over_tau", "draw_pr_and_f1", "plot_f1"]


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
    # Scores descend; a threshold between two of them keeps what the higher one keeps.
    for values, label, color in (
        (curve.precision, "precision", COLORS["FP"]),
        (curve.recall, "recall", COLORS["FN"]),
        (curve.f1, "F1", "black"),
    ):
        axes.plot(curve.thresholds, values, color=color, label=label, drawstyle="steps-post")
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


def draw_over_tau(over_tau: Sequence[Mapping[str, Any]], title: str = "") -> Figure:
    """Draw optimal LRP and its components over tau (thesis Fig. H.2, the mean).

    Args:
        over_tau: ``over_tau`` of a report, or of :meth:`Evaluation.over_tau`.
        title: heading, such as the name of the detector.
    """
    rows = sorted(over_tau, key=lambda row: row["tau"])
    figure = Figure(figsize=(7, 4.6), layout="constrained")
    axes = figure.subplots()
    colors = {"oLRP": "black"} | {f"oLRP_{key}": color for key, color in COLORS.items()}
    names = {"oLRP": "oLRP"} | {f"oLRP_{key}": label for key, label in LABELS.items()}
    for key, color in colors.items():
        values = [np.nan if row[key] is None else row[key] for row in rows]
        axes.plot([row["tau"] for row in rows], values, "o-", color=color, label=names[key], ms=4)
    axes.set_xlabel("tau, the localisation quality from which on a match counts")
    axes.set_ylabel("mean error over the categories")
    axes.set_ylim(-0.02, 1.02)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.suptitle(f"{title}: " * bool(title) + "optimal LRP over tau")
    return figure
