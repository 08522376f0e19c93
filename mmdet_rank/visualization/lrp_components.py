"""Bar charts of the components of LRP Error."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmdet_rank.evaluation.lrp import EQUAL_IMPORTANCE

__all__ = ["ErrorShares", "draw_comparison", "draw_components", "error_shares", "plot_shares"]

# Colours that colour-blind readers can tell apart, one per component in all pictures.
COLORS = {"Loc": "#E69F00", "FP": "#0072B2", "FN": "#CC79A7"}
LABELS = {
    "Loc": "localisation",
    "FP": "false positives",
    "FN": "false negatives",
}
_MAX_BARS = 80


class ErrorShares(NamedTuple):
    """Share of each kind of error in LRP; the three sum to it."""

    loc: float
    fp: float
    fn: float


def error_shares(
    loc: float | None,
    fp: float | None,
    fn: float | None,
    tau: float = 0.5,
    importance: Sequence[float] = EQUAL_IMPORTANCE,
) -> ErrorShares:
    """Split LRP Error into what its three terms add to it (thesis Eq. 5.2 and 5.9 divided by Z).

    Args:
        loc: localisation component, None where undefined.
        fp: false positive component, None where there is no detection.
        fn: false negative component, None where there is no ground truth.
        tau: quality from which on a match counted.
        importance: weights of true positives, false positives and false negatives.

    >>> error_shares(loc=0.25, fp=0.5, fn=0.0)
    ErrorShares(loc=0.25, fp=0.5, fn=0.0)
    """
    if fn is None:
        return ErrorShares(0.0, 1.0, 0.0)
    # In units of the number of ground truth objects.
    found = 1.0 - fn
    if found == 0 or fp is None or loc is None:
        return ErrorShares(0.0, 0.0, 1.0)
    weight_tp, weight_fp, weight_fn = importance
    right = weight_tp * found
    wrong = weight_fp * found * fp / (1.0 - fp)
    missed = weight_fn * fn
    total = right + wrong + missed
    return ErrorShares(right * loc / (1.0 - tau) / total, wrong / total, missed / total)


def class_shares(report: Mapping) -> dict[str, ErrorShares]:
    """Return the shares of every category of an LRP report, panoptic or not, worst first."""
    importance = report.get("importance", EQUAL_IMPORTANCE)
    shares = {}
    for name, values in report["per_class"].items():
        prefix = "oLRP" if "oLRP" in values else "LRP"
        loc, fp, fn = (values[f"{prefix}_{part}"] for part in ("Loc", "FP", "FN"))
        shares[name] = error_shares(loc, fp, fn, report["tau"], importance)
    return dict(sorted(shares.items(), key=lambda item: -sum(item[1])))


def plot_shares(axes: Axes, names: Sequence[str], shares: Sequence[ErrorShares]) -> None:
    """Draw one horizontal bar per name, stacked of the three shares, the first at the top."""
    rows = range(len(names))
    left = [0.0] * len(names)
    for part, label in LABELS.items():
        widths = [100 * getattr(share, part.lower()) for share in shares]
        axes.barh(rows, widths, left=left, color=COLORS[part], label=label, height=0.8)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    for row, end in zip(rows, left, strict=True):
        axes.text(end + 1, row, f"{end:.1f}", va="center", fontsize=7)
    axes.set_yticks(rows, names, fontsize=8)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(0, 108)
    axes.spines[["top", "right"]].set_visible(False)


def draw_components(report: Mapping, title: str = "") -> Figure:
    """Draw what each kind of error adds to the (optimal) LRP of each category, worst on top.

    Of more than 80 categories the 80 worst are drawn.
    """
    shares = class_shares(report)
    names = list(shares)[:_MAX_BARS]
    figure = Figure(figsize=(7.5, 1.6 + 0.2 * max(len(names), 4)), layout="constrained")
    axes = figure.subplots()
    plot_shares(axes, names, [shares[name] for name in names])
    axes.set_xlabel("LRP Error in percent, and what it is made of (lower is better)")
    left_out = len(shares) - len(names)
    heading = f"{title}: " if title else ""
    heading += "error by category"
    axes.set_title(heading + (f" (the {_MAX_BARS} worst of {len(shares)})" if left_out else ""))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def draw_comparison(reports: Mapping[str, Mapping]) -> Figure:
    """Draw detectors side by side: the mean share of each kind of error, for all categories."""
    figure = Figure(figsize=(7.5, 1.6 + 0.4 * max(len(reports), 2)), layout="constrained")
    axes = figure.subplots()
    means = []
    for report in reports.values():
        # A report without a category has no error to share.
        shares = list(class_shares(report).values()) or [ErrorShares(0.0, 0.0, 0.0)]
        means.append(ErrorShares(*map(statistics.fmean, zip(*shares, strict=True))))
    plot_shares(axes, list(reports), means)
    axes.set_xlabel("LRP Error in percent, mean over categories (lower is better)")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure
