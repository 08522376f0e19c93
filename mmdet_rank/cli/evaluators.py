"""Checks of what a config says about evaluation, so that it does not fail after an epoch."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from mmdet_rank.cli.errors import UserError

_COCO_ITEMS = ("mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l")
_LRP_ITEMS = ("oLRP", "oLRP_Loc", "oLRP_FP", "oLRP_FN", "oLRP_s", "oLRP_m", "oLRP_l")
_F1_ITEMS = ("precision", "recall", "F1")


def evaluator_configs(cfg: Config, split: str) -> Iterator[tuple[str, dict]]:
    """Every metric of a split, with its place in the config."""
    node = cfg.get(f"{split}_evaluator")
    if isinstance(node, dict) and "metrics" in node:
        node = node["metrics"]
    for entry in node if isinstance(node, (list, tuple)) else [node]:
        if isinstance(entry, dict):
            yield f"{split}_evaluator", entry


def check_truth_of_each_set(cfg: Config, split: str, sets: list[Path]) -> None:
    """Check that the images of a split are evaluated by their own annotation files.

    Files usually number their images from 1, so that figures by another file would be wrong
    without an error.

    Args:
        cfg: The config.
        split: "train", "val" or "test".
        sets: Annotation files of the split's data sets.

    Raises:
        UserError: Several data sets are evaluated by the file of one of them.
    """
    evaluator = cfg.get(f"{split}_evaluator")
    apart = isinstance(evaluator, dict) and evaluator.get("type") == "MultiDatasetsEvaluator"
    of_sets = {path.resolve() for path in sets}
    for where, metric in evaluator_configs(cfg, split):
        path = metric.get("ann_file")
        if not path or not sets:
            continue
        own = Path(path).resolve() in of_sets
        if own and len(of_sets) > 1 and not apart:
            others = [str(each) for each in sets if each.resolve() != Path(path).resolve()]
            raise UserError(
                f"Expected each data set of {split}_dataloader to be evaluated by its own file, "
                f"but {where}.ann_file is {path}, and the predictions on {', '.join(others)} would "
                "be matched with its objects; use "
                f"{split}_evaluator=dict(type='MultiDatasetsEvaluator', metrics=[one for each], "
                "dataset_prefixes=[...])"
            )
        if not own:
            print_log(
                f"{where}.ann_file is {path}, but the images are those of "
                f"{', '.join(map(str, sets))}: the figures are wrong unless both files have the "
                "same images and objects.",
                logger="current",
                level=logging.WARNING,
            )


def check_save_best(cfg: Config) -> None:
    """Refuse to keep the best checkpoint by a figure that no metric gives.

    Args:
        cfg: The config.

    Raises:
        UserError: The name is not among the figures, where all metrics are of kinds known here.
    """
    hook = (cfg.get("default_hooks") or {}).get("checkpoint") or {}
    wanted = hook.get("save_best")
    if wanted is None or wanted == "auto" or not cfg.get("val_evaluator"):
        return
    if isinstance(cfg.val_evaluator, dict) and "metrics" in cfg.val_evaluator:
        return  # MultiDatasetsEvaluator puts the names of data sets before those of figures.
    figures: list[str] = []
    for _, metric in evaluator_configs(cfg, "val"):
        names = _figures(metric)
        if names is None:
            return
        figures += names
    for name in [wanted] if isinstance(wanted, str) else wanted:
        if name not in figures:
            raise UserError(
                f"Expected default_hooks.checkpoint.save_best among the figures of val_evaluator, "
                f"but got {name!r}; they are {', '.join(figures)}"
            )


def _figures(metric: dict) -> list[str] | None:
    """Names of the figures that a metric of COCO's kind gives; None for other metrics."""
    kind = metric.get("type")
    if kind not in ("CocoMetric", "CocoLRPMetric") or metric.get("classwise"):
        return None
    prefix = metric.get("prefix") or "coco"
    metrics = metric.get("metric", "bbox")
    items: list[Any] = []
    for each in [metrics] if isinstance(metrics, str) else metrics:
        if each not in ("bbox", "segm") or metric.get("metric_items"):
            return None
        if kind == "CocoLRPMetric":
            items += [f"{each}_{item}" for item in (*_LRP_ITEMS, *_F1_ITEMS)]
        items += [f"{each}_{item}" for item in _COCO_ITEMS]
    return [f"{prefix}/{item}" for item in items]
