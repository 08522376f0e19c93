"""Writing the pictures of an LRP evaluation to a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from mmdet_rank.evaluation.report import Evaluation
from mmdet_rank.files import written_whole

from .lrp_components import draw_comparison, draw_components
from .lrp_curves import draw_pr_curves, draw_s_lrp_curves
from .lrp_detectors import (
    draw_interpolation,
    draw_pr_detectors,
    draw_s_lrp_detectors,
    draw_thresholds,
)
from .lrp_over import draw_f1, draw_over_tau, draw_pr_and_f1
from .lrp_overview import draw_overview, draw_panoptic_overview
from .lrp_scatter import draw_fp_fn
from .names import show_names

__all__ = [
    "save_comparison",
    "save_detectors",
    "save_figures",
    "save_lrp_plots",
    "save_panoptic_plots",
]


def save_lrp_plots(folder: str | Path, evaluation: Evaluation, title: str = "") -> list[Path]:
    """Write ``overview``, ``s_lrp``, ``pr``, ``components`` and ``f1``; return the paths.

    All are ``.png``; ``f1``, and the means beside ``pr``, where IoU 0.5 was evaluated. With several
    taus there is ``over_tau`` too.
    """
    report = evaluation.report()
    figures = {
        "overview": draw_overview(evaluation, title),
        "s_lrp": draw_s_lrp_curves(evaluation, title=title),
        "pr": draw_pr_curves(evaluation, title=title),
        "components": draw_components(report, title),
    }
    if "F1" in report:
        figures["pr"] = draw_pr_and_f1(evaluation, title)
        figures["f1"] = draw_f1(evaluation, title=title)
    if "over_tau" in report:
        figures["over_tau"] = draw_over_tau(report["over_tau"], title)
    return _save(folder, figures)


def save_panoptic_plots(folder: str | Path, report: Mapping, title: str = "") -> list[Path]:
    """Write ``overview.png`` and ``components.png`` of a panoptic report; return the paths.

    With several taus there is ``over_tau.png`` too.
    """
    figures = {
        "overview": draw_panoptic_overview(report, title),
        "components": draw_components(report, title),
    }
    if "over_tau" in report:
        figures["over_tau"] = draw_over_tau(report["over_tau"], title)
    return _save(folder, figures)


def save_detectors(
    folder: str | Path, evaluations: Mapping[str, Evaluation], categories: Sequence[str] = ()
) -> list[Path]:
    """Write pictures of several detectors; return the paths.

    Args:
        folder: where to.
        evaluations: by name of the detector, all of one data set.
        categories: that get s-LRP and precision-recall curves of their own.

    Returns:
        ``comparison``, ``s_lrp``, ``pr``, ``thresholds``, ``interpolation`` and ``fp_fn``, and
        ``s_lrp_NAME`` and ``pr_NAME`` for each category, all ``.png``.
    """
    reports = {name: evaluation.report() for name, evaluation in evaluations.items()}
    figures = {
        "comparison": draw_comparison(reports),
        "s_lrp": draw_s_lrp_detectors(evaluations),
        "pr": draw_pr_detectors(evaluations),
        "thresholds": draw_thresholds(evaluations),
        "interpolation": draw_interpolation(evaluations),
        "fp_fn": draw_fp_fn(reports),
    }
    for category in categories:
        safe = "".join(c if c.isalnum() or c in "-_" else "_" for c in category)
        while f"pr_{safe}" in figures:
            safe += "_"
        figures[f"s_lrp_{safe}"] = draw_s_lrp_detectors(evaluations, category)
        figures[f"pr_{safe}"] = draw_pr_detectors(evaluations, category)
    return _save(folder, figures)


def save_comparison(folder: str | Path, reports: Mapping[str, Mapping]) -> list[Path]:
    """Write ``comparison.png``, detectors side by side; return its path in a list."""
    return _save(folder, {"comparison": draw_comparison(reports)})


def save_figures(figures: Mapping[str | Path, Figure]) -> list[Path]:
    """Write figures by their paths, each file whole; return the paths."""
    for path, figure in figures.items():
        show_names(figure)
        with written_whole(Path(path)) as temporary:
            figure.savefig(temporary, dpi=110)
    return list(map(Path, figures))


def _save(folder: str | Path, figures: Mapping[str, Figure]) -> list[Path]:
    return save_figures({Path(folder) / f"{name}.png": each for name, each in figures.items()})
