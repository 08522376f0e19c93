"""Getting hold of the evaluation that a metric of MMDetection runs.

MMDetection's CocoMetric and LVISMetric make an evaluation object (pycocotools' ``COCOeval``, or
lvis's ``LVISEval``), run it and let it go. Matching is by far the dearest part, so LRP Error reads
the matches of that very evaluation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

from mmengine.logging import MMLogger

from mmdet_rank.evaluation.report import F1_FIGURES, Evaluation, class_table, summary_table
from mmdet_rank.evaluation.thresholds import report_thresholds
from mmdet_rank.files import write_json

__all__ = ["Recorder", "publish", "with_globals"]


def with_globals(function: Callable, **names: Any) -> Callable:
    """Return a function of the same code that finds other objects under some global names.

    The function given and its module stay as they are. This is how a metric's own code comes to
    make the evaluation objects that it is to make here, without a copy of that code.

    Raises:
        RuntimeError: when the code uses none of the names, so that nothing would change.

    >>> import math
    >>> def area(radius):
    ...     return math.pi * radius**2
    >>> with_globals(area, math=type("Pi", (), {"pi": 3}))(1)
    3
    """
    code = function.__code__
    if not any(name in code.co_names for name in names):
        raise RuntimeError(
            f"Expected {function.__qualname__} to use one of {sorted(names)} but it does not; "
            "this version of MMDetection is not supported by mmdet_rank's metrics."
        )
    return FunctionType(
        code,
        {**function.__globals__, **names},
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )


class Recorder:
    """Keeps what is needed of each evaluation, and no evaluation longer than the next begins.

    Args:
        read: turns an evaluation that has run into an ``Evaluation``, or None to leave it out.
    """

    def __init__(self, read: Callable[[Any], Evaluation | None]) -> None:
        self._read = read
        self._running: tuple[str, Any] | None = None
        self._evaluations: dict[str, Evaluation] = {}

    def making(self, evaluator: Callable) -> Callable:
        """Return a function that makes an evaluation of a class and records it."""

        def make(ground_truth: Any, results: Any, iou_type: str) -> Any:
            self._finish()
            evaluation = evaluator(ground_truth, results, iou_type)
            self._running = iou_type, evaluation
            return evaluation

        return make

    def evaluations(self) -> dict[str, Evaluation]:
        """Return the evaluations that have run, by IoU type."""
        self._finish()
        return self._evaluations

    def _finish(self) -> None:
        if self._running is None:
            return
        iou_type, evaluation = self._running
        self._running = None
        read = self._read(evaluation)
        if read is not None:
            self._evaluations[iou_type] = read


def publish(
    evaluation: Evaluation, iou_type: str, *, classwise: bool, report_prefix: str | None
) -> dict[str, float]:
    """Log an evaluation, write its report and thresholds, and return its figures for a metric.

    Args:
        evaluation: what was evaluated.
        iou_type: ``bbox`` or ``segm``, the beginning of all names.
        classwise: also log and return the figures of each category.
        report_prefix: where ``PREFIX.IOU_TYPE.lrp.json`` and ``PREFIX.IOU_TYPE.thresholds.json``
            go, None for nowhere.

    Returns:
        ``{iou_type}_oLRP`` and so on, in [0, 1], NaN where undefined.
    """
    report = evaluation.report()
    keys = ("oLRP", "oLRP_Loc", "oLRP_FP", "oLRP_FN", "oLRP_s", "oLRP_m", "oLRP_l", *F1_FIGURES)
    figures = {f"{iou_type}_{key}": _number(report[key]) for key in keys}
    logger = MMLogger.get_current_instance()
    if classwise:
        logger.info(f"{iou_type} LRP Error by category, in percent:\n{class_table(report)}")
        for name, values in report["per_class"].items():
            for key in ("oLRP", *F1_FIGURES):
                figures[f"{iou_type}_{name}_{key}"] = _number(values[key])
    logger.info(f"{iou_type} LRP Error in percent:\n{summary_table(report)}")
    if report_prefix is not None:
        write_json(Path(f"{report_prefix}.{iou_type}.lrp.json"), report)
        write_json(Path(f"{report_prefix}.{iou_type}.thresholds.json"), report_thresholds(report))
    return figures


def _number(value: float | None) -> float:
    return math.nan if value is None else value
