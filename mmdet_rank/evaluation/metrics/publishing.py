"""Shared by the metrics over MMDetection's own: files before an evaluation, figures after it."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from numpy.typing import NDArray

from mmdet_rank.evaluation.report import (
    F1_FIGURES,
    Evaluation,
    class_table,
    format_table,
    summary_table,
)
from mmdet_rank.evaluation.thresholds import report_thresholds
from mmdet_rank.files import write_json

__all__ = ["precision_by_category", "publish", "result_files", "stock_figures"]


@contextmanager
def result_files(metric: BaseMetric, stock: type[BaseMetric], results: list) -> Iterator[str]:
    """Have a metric of MMDetection number its categories and images and write its result files.

    Args:
        metric: The metric.
        stock: MMDetection's class of it, whose ``format_only`` does that and evaluates nothing.
        results: What ``process`` has stored.

    Yields:
        The prefix of the files; without ``outfile_prefix`` they are gone afterwards.
    """
    with tempfile.TemporaryDirectory() as folder:
        prefix = metric.outfile_prefix or str(Path(folder, "results"))
        with _set(metric, format_only=True, outfile_prefix=prefix):
            stock.compute_metrics(metric, results)
        yield prefix


def stock_figures(
    metric: BaseMetric, stock: type[BaseMetric], results: list, name: str
) -> dict[str, float]:
    """Return what MMDetection's own metric says of one of its ``metrics``, such as proposals."""
    with _set(metric, metrics=[name]):
        return stock.compute_metrics(metric, results)


@contextmanager
def _set(metric: BaseMetric, **values: Any) -> Iterator[None]:
    before = {name: getattr(metric, name) for name in values}
    vars(metric).update(values)
    try:
        yield
    finally:
        vars(metric).update(before)


def precision_by_category(
    names: Sequence[str], precision: NDArray[np.float64], headers: Sequence[str]
) -> dict[str, float]:
    """Log the AP of every category as a table, and return ``{name}_precision`` as MMDetection does.

    Args:
        names: K categories.
        precision: (T, R, K, A) at T IoUs from 0.5 in steps of 0.05, R recalls and the A ranges of
            size, all of them first; -1 where there is none.
        headers: ``mAP``, ``mAP_50``, ``mAP_75`` and one for each range of size.
    """
    rows, figures = [], {}
    for index, name in enumerate(names):
        own = precision[:, :, index]
        ranges = [own[..., size] for size in range(1, own.shape[-1])]
        values = [_mean(part) for part in (own[..., 0], own[:1, :, 0], own[5:6, :, 0], *ranges)]
        figures[f"{name}_precision"] = round(values[0], 3)
        rows.append([name, *(f"{value:.3f}" for value in values[: len(headers)])])
    table = format_table(["category", *headers], rows)
    MMLogger.get_current_instance().info(f"AP by category:\n{table}")
    return figures


def _mean(precision: NDArray[np.float64]) -> float:
    defined = precision[precision > -1]
    return float(defined.mean()) if defined.size else math.nan


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
