"""A warning after an epoch without any positive example."""

from __future__ import annotations

import logging
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.registry import HOOKS
from mmengine.runner import Runner

__all__ = ["PositivesHook"]


@HOOKS.register_module()
class PositivesHook(Hook):
    """Warns after an epoch in which no prior was assigned to any object, however short it was.

    It reads ``num_pos``, which ranking heads log, and says nothing of other heads. Each process
    looks at its own images.
    """

    def __init__(self) -> None:
        self._total: Any = None

    def before_train_epoch(self, runner: Runner) -> None:
        """Begin to count."""
        self._total = None

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Count the positives of an iteration, on their device."""
        for name, value in (outputs or {}).items():
            if name.rpartition(".")[2] == "num_pos":
                value = torch.as_tensor(value).detach()
                self._total = value if self._total is None else self._total + value

    def after_train_epoch(self, runner: Runner) -> None:
        """Warn where there was none."""
        if self._total is not None and self._total.item() == 0:
            print_log(
                f"No prior was assigned to any object in the whole of epoch {runner.epoch + 1}, so "
                "that nothing was learned. Check the annotation file (objects of the classes, "
                "boxes in pixels), and the sizes of objects against the anchors.",
                logger="current",
                level=logging.WARNING,
            )
