"""The paces at which a detector learns its tasks, from the log of its training."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["measure_paces", "task_of", "unbalanced"]

# What names of classification losses hold, auxiliary ones among them.
_CLASSIFICATION = ("cls", "obj", "centerness", "score")


def measure_paces(entries: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Measure how fast the loss of each task falls (thesis Fig. 3.17).

    A loss that is balanced against the ranking loss counts without its balance.

    Args:
        entries: of a log, as `visualization.training_curve.read_scalars` gives them.

    Returns:
        ``iterations`` of the T entries of training, ``relative``: by task its T losses over the
        first one (None where there is none, or none that is finite), and ``left``: the last of
        these. Empty where there are fewer than two entries, or no task has a loss at first.

    Example:
        >>> first = {"step": 50, "loss": 3.0, "loss_cls": 2.0, "loss_bbox": 1.0}
        >>> last = {"step": 100, "loss": 1.5, "loss_cls": 1.0, "loss_bbox": 0.75}
        >>> measure_paces([first, last])["left"]
        {'classification': 0.5, 'boxes': 0.75}
    """
    training = [entry for entry in entries if "loss" in entry]
    if len(training) < 2:
        return {}
    sums: list[dict[str, float]] = []
    for entry in training:
        tasks: dict[str, float] = {}
        for name in entry:
            if "loss" in name and name != "loss":
                task = task_of(name)
                tasks[task] = tasks.get(task, 0.0) + unbalanced(entry, name)
        sums.append(tasks)
    relative = {
        task: [_share(tasks.get(task, math.nan), first) for tasks in sums]
        for task, first in sums[0].items()
        if first > 0 and math.isfinite(first)
    }
    if not relative:
        return {}
    return {
        "iterations": [entry["step"] for entry in training],
        "relative": relative,
        "left": {
            task: [value for value in values if value is not None][-1]
            for task, values in relative.items()
        },
    }


def unbalanced(entry: Mapping[str, Any], name: str) -> float:
    """A logged loss without what balances it: balanced by value it is the ranking loss.

    Args:
        entry: of a log.
        name: of a loss, such as ``loss_bbox`` or ``s0.loss_bbox``, or of a part of one, which has
            no balance.

    Example:
        >>> unbalanced({"s0.loss_bbox": 0.9, "s0.balance_bbox": 3.0}, "s0.loss_bbox")
        0.3
    """
    return entry.get(name, float("nan")) / (entry.get(balance_of(name)) or 1.0)


def balance_of(name: str) -> str:
    """Name of the factor in a log that balances a loss, whether there is one or not.

    All losses of boxes have that of the boxes: the IoU loss of DETR, and the distributions.

    Example:
        >>> [balance_of(name) for name in ("s0.loss_bbox", "d1.loss_iou", "loss_rpn_bbox")]
        ['s0.balance_bbox', 'd1.balance_bbox', 'rpn_balance_bbox']
    """
    prefix, _, task = name.rpartition("loss_")
    if task.startswith("rpn_"):
        prefix, task = f"{prefix}rpn_", task.removeprefix("rpn_")
    return f"{prefix}balance_{'bbox' if task in ('iou', 'dfl') else task}"


def _share(value: float, first: float) -> float | None:
    """A loss over the first one; None for what JSON does not have, as diverged losses are."""
    share = value / first
    return share if math.isfinite(share) else None


def task_of(name: str) -> str:
    """The task of a loss: ``classification``, ``boxes`` or ``masks``.

    Example:
        >>> [task_of(name) for name in ("loss_rpn_cls", "s1.loss_bbox", "loss_mask")]
        ['classification', 'boxes', 'masks']
    """
    if "mask" in name or "segm" in name:
        return "masks"
    if any(part in name for part in _CLASSIFICATION) and "bbox" not in name:
        return "classification"
    return "boxes"
