"""From matched detections to the LRP report: figures by category, their means, and tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .f1 import BestF1, best_f1
from .lrp import (
    EQUAL_IMPORTANCE,
    LRPCurve,
    MatchedDetections,
    OptimalLRP,
    check_importance,
    check_taus,
    lrp_curve,
    mean_defined,
    optimal_lrp,
)
from .thresholds import midway_threshold

__all__ = [
    "Evaluation",
    "class_table",
    "comparison_table",
    "format_table",
    "summary_table",
    "tau_table",
]

# Size ranges of COCO and LVIS, and the suffix under which a report has their oLRP.
SIZES = {"small": "s", "medium": "m", "large": "l"}
_COMPONENTS = {"oLRP": "lrp", "oLRP_Loc": "loc", "oLRP_FP": "fp", "oLRP_FN": "fn"}
_AP_FIGURES = ("AP", "AP50", "AP75", "AR")
F1_FIGURES = ("precision", "recall", "F1")
# Precision, recall and F1 are those of matches at this IoU, whatever tau is.
F1_TAU = 0.5
# How an evaluation was run, where its report says so: those of earlier versions do not.
_SETTINGS = ("iou_type", "max_dets")
THRESHOLD_RULE = (
    "A threshold lies midway between the last score kept and the next lower one (1 % below the "
    "last where none is lower), so that it keeps the same detections when rounding moves scores."
)


@dataclass
class Evaluation:
    """One detector evaluated on one data set.

    Attributes:
        tau: localisation quality from which on a match counted.
        matches: matched detections by size range (``all`` first) and category name.
        figures: ``AP``, ``AP50``, ``AP75``, ``AR``, and what else the data set defines, in [0, 1],
            NaN where undefined.
        class_figures: ``AP``, ``AP50`` and ``AP75`` by category name.
        taus: all that the report is to have LRP Error at, ``tau`` first.
        other_taus: matched detections of all sizes at ``taus`` and 0.5, where they are not ``tau``.
        importance: weights of true positives, false positives and false negatives (thesis Eq. 5.9).
        quality: what localisation is measured by: ``iou`` (of keypoints OKS) or ``giou``.
        notes: sentences on what is not as it should be in the files, and on limits that bind.
        iou_type: what was compared: ``bbox``, ``segm`` or ``keypoints``; None where nobody said.
        max_dets: how many detections counted; likewise.
    """

    tau: float
    matches: dict[str, dict[str, MatchedDetections]]
    figures: dict[str, float] = field(default_factory=dict)
    class_figures: dict[str, dict[str, float]] = field(default_factory=dict)
    taus: tuple[float, ...] = ()
    other_taus: dict[float, dict[str, MatchedDetections]] = field(default_factory=dict)
    importance: tuple[float, ...] = EQUAL_IMPORTANCE
    quality: str = "iou"
    notes: list[str] = field(default_factory=list)
    iou_type: str | None = None
    max_dets: int | None = None

    @classmethod
    def gather(
        cls,
        collect: Callable[[float], dict[str, dict[str, MatchedDetections]]],
        figures: dict[str, float],
        class_figures: dict[str, dict[str, float]],
        *,
        tau: float | Sequence[float] = 0.5,
        importance: Sequence[float] = EQUAL_IMPORTANCE,
        quality: str = "iou",
        iou_type: str | None = None,
        max_dets: int | None = None,
    ) -> Evaluation:
        """Evaluation at one tau or several.

        Args:
            collect: gives the matches at a tau, by size range and category name.
            figures: AP and so on.
            class_figures: those of each category.
            tau: one or several; the first is that of thresholds, sizes and categories.
            importance: as in the attributes.
            quality: likewise.
            iou_type: likewise.
            max_dets: likewise.
        """
        check_importance(importance)
        taus = check_taus(tau)
        wanted = (*taus, F1_TAU) if quality == "iou" else taus
        others = [value for value in dict.fromkeys(wanted) if value != taus[0]]
        return cls(
            tau=taus[0],
            matches=collect(taus[0]),
            figures=figures,
            class_figures=class_figures,
            taus=taus,
            other_taus={value: collect(value)["all"] for value in others},
            importance=tuple(importance),
            quality=quality,
            iou_type=iou_type,
            max_dets=max_dets,
        )

    def matches_at(self, tau: float) -> dict[str, MatchedDetections]:
        """Matched detections of all sizes at a tau that was evaluated.

        Raises:
            KeyError: when it was not.
        """
        return self.matches["all"] if tau == self.tau else self.other_taus[tau]

    def optimal(self, area: str = "all") -> dict[str, OptimalLRP]:
        """Optimal LRP by name of every category that has ground truth in a size range."""
        return self._optimal(self.matches.get(area, {}), self.tau)

    def curve(self, name: str) -> LRPCurve:
        """The s-LRP curve of a category at ``tau``."""
        return lrp_curve(*self.matches["all"][name], tau=self.tau, importance=self.importance)

    def over_tau(self) -> list[dict[str, float]]:
        """``tau`` and the mean of optimal LRP and its components there (thesis H.3), for each."""
        rows = []
        for tau in self.taus or (self.tau,):
            optimal = self._optimal(self.matches_at(tau), tau).values()
            means = {
                key: mean_defined(getattr(value, component) for value in optimal)
                for key, component in _COMPONENTS.items()
            }
            rows.append({"tau": tau} | means)
        return rows

    def _optimal(self, matches: dict[str, MatchedDetections], tau: float) -> dict[str, OptimalLRP]:
        return {
            name: optimal_lrp(*matched, tau=tau, importance=self.importance)
            for name, matched in matches.items()
            if matched.num_gt > 0
        }

    def report(self) -> dict:
        """Build the LRP report, ready for JSON: errors in [0, 1], None where undefined.

        Categories without ground truth are left out, with their detections; undefined components
        are left out of the means (thesis 5.5.2).

        Returns:
            ``tau``, ``oLRP``, ``oLRP_Loc``, ``oLRP_FP``, ``oLRP_FN``, ``oLRP_s``, ``oLRP_m``,
            ``oLRP_l``, ``AP``, ``AP50``, ``AP75``, ``AR``; ``precision``, ``recall`` and ``F1`` at
            IoU 0.5, means at ``F1_threshold``, the confidence of the best mean F1 (left out where
            0.5 was not evaluated); with several taus ``over_tau``, the four errors at each; with
            other weights than 1 ``importance``; where they are known ``iou_type`` and
            ``max_dets``; ``threshold_rule``, a sentence on what the
            thresholds are; and ``per_class`` with ``AP``, ``AP50``, ``AP75``, the four errors,
            ``threshold``, ``last_kept`` (the lowest score at or above it), ``num_gt``,
            ``precision``, ``recall`` and ``F1`` by category name.
        """
        optimal = self.optimal()
        report: dict[str, Any] = {"tau": self.tau}
        for key, component in _COMPONENTS.items():
            report[key] = mean_defined(getattr(value, component) for value in optimal.values())
        for size, suffix in SIZES.items():
            report[f"oLRP_{suffix}"] = mean_defined(v.lrp for v in self.optimal(size).values())
        report |= dict.fromkeys(_AP_FIGURES, math.nan) | self.figures
        f1 = self._f1()
        if f1 is not None:
            report |= dict(zip(F1_FIGURES, f1.mean, strict=True)) | {"F1_threshold": f1.threshold}
        report = {key: defined(value) for key, value in report.items()}
        if len(self.taus) > 1:
            report["over_tau"] = [
                {key: defined(value) for key, value in row.items()} for row in self.over_tau()
            ]
        if self.quality != "iou":
            report["quality"] = self.quality
        if self.importance != EQUAL_IMPORTANCE:
            report["importance"] = list(self.importance)
        for key in _SETTINGS:
            if getattr(self, key) is not None:
                report[key] = getattr(self, key)
        report["threshold_rule"] = THRESHOLD_RULE
        report["per_class"] = {
            name: {key: defined(ap) for key, ap in self.class_figures.get(name, {}).items()}
            | {key: defined(getattr(value, c)) for key, c in _COMPONENTS.items()}
            | {
                "threshold": defined(midway_threshold(matched.scores, value.threshold)),
                "last_kept": defined(value.threshold),
                "num_gt": matched.num_gt,
            }
            | _class_f1(f1, name)
            for name, value in optimal.items()
            for matched in [self.matches["all"][name]]
        }
        return report

    def _f1(self) -> BestF1 | None:
        if self.quality != "iou" or (self.tau != F1_TAU and F1_TAU not in self.other_taus):
            return None
        return best_f1(self.matches_at(F1_TAU), tau=F1_TAU)


def summary_table(report: dict) -> str:
    """Return the data set's figures as a text table, in percent."""
    if "all" in report:
        keys = list(report["all"])
        rows = [[group, *(percent(report[group][key]) for key in keys)] for group in PANOPTIC]
        return format_table(["", *keys], rows)
    left_out = (
        *("tau", "F1_threshold", "over_tau", "quality", "importance", "correlation_bounds"),
        *("confusion", "threshold_rule", "per_class", *_SETTINGS),
    )
    keys = [key for key in report if key not in left_out]
    return format_table(keys, [[percent(report[key]) for key in keys]])


def class_table(report: dict) -> str:
    """Return the figures of every category as a text table, errors in percent."""
    rows = []
    keys: list[str] = []
    for name, values in report["per_class"].items():
        keys = [key for key in values if key != "last_kept"]
        rows.append([name, *(_cell(key, values[key]) for key in keys)])
    return format_table(["category", *keys], rows)


def tau_table(report: dict) -> str:
    """Return LRP Error over tau as a text table, in percent; empty for one tau."""
    rows = report.get("over_tau", [])
    keys = [key for key in rows[0] if key != "tau"] if rows else []
    return format_table(
        ["tau", *keys], [[f"{row['tau']:g}", *(percent(row[key]) for key in keys)] for row in rows]
    ) * bool(rows)


def comparison_table(reports: dict[str, dict]) -> str:
    """Return detectors side by side, as thesis Tables 5.4 and 5.6 do, in percent.

    Args:
        reports: LRP report by name of the detector; all of one kind.

    Raises:
        ValueError: when panoptic reports and others are mixed, or reports of different tau,
            quality, importance, kind of results or limit of detections.
    """
    _check_comparable(list(reports.values()))
    if all("all" in report for report in reports.values()):
        keys = ("PQ", "SQ", "RQ", "LRP", "LRP_Loc", "LRP_FP", "LRP_FN")
        rows = [
            [name, group, *(percent(report[group][key]) for key in keys)]
            for name, report in reports.items()
            for group in PANOPTIC
        ]
        return format_table(["detector", "classes", *keys], rows)
    keys = (*_AP_FIGURES, *_COMPONENTS, "oLRP_s", "oLRP_m", "oLRP_l")
    rows = [[name, *(percent(report.get(key)) for key in keys)] for name, report in reports.items()]
    return format_table(["detector", *keys], rows)


def _check_comparable(reports: Sequence[dict]) -> None:
    """Raise ValueError unless reports were made in the same way, as far as they say."""
    found: dict[str, list] = {
        "kind": ["panoptic" if "all" in report else "other" for report in reports],
        "tau": [report.get("tau") for report in reports],
        "quality": [report.get("quality", "iou") for report in reports],
        "importance": [tuple(report.get("importance", EQUAL_IMPORTANCE)) for report in reports],
    }
    found |= {key: [report[key] for report in reports if key in report] for key in _SETTINGS}
    for what, values in found.items():
        if len(different := list(dict.fromkeys(values))) > 1:
            raise ValueError(
                "Expected reports of one kind and one tau, quality and importance to compare, but "
                f"got as {what} {' and '.join(map(str, different))}; evaluate all detectors in the "
                "same way."
            )


def format_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a text table: first column to the left, the others to the right.

    >>> print(format_table(["name", "AP"], [["a", "40.0"], ["longer", "9.5"]]))
    name      AP
    ------  ----
    a       40.0
    longer   9.5
    """
    rows = [list(map(str, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [list(header), ["-" * width for width in widths], *rows]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def percent(value: float | None) -> str:
    """Return an error or a quality in [0, 1] as percent, or a dash where it is undefined."""
    return "-" if value is None or math.isnan(value) else f"{100 * value:.1f}"


# The groups of categories of a panoptic report.
PANOPTIC = ("all", "things", "stuff")


def _class_f1(f1: BestF1 | None, name: str) -> dict[str, float | None]:
    if f1 is None:
        return {}
    return {key: defined(value) for key, value in zip(F1_FIGURES, f1.per_class[name], strict=True)}


def _cell(key: str, value: float | None) -> str:
    if value is None:
        return "-"
    if key == "threshold":
        return f"{value:.4g}"
    return str(value) if isinstance(value, int) else percent(value)


def defined(value: float) -> float | None:
    """JSON has no NaN: None is what is undefined."""
    return None if math.isnan(value) else float(value)
