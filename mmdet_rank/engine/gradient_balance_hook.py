"""The balance of gradients at every classifier, logged while any detector trains."""

from __future__ import annotations

import contextlib
import math

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdet_rank.engine.wrapped import unwrapped
from mmdet_rank.imbalance.gradients import HeadOutputs, listening


@HOOKS.register_module()
class GradientBalanceHook(Hook):
    """Logs how much of a classifier's gradient lowers scores, over how much raises them.

    For every head, as ``train/lowering_over_raising`` with the head's name: the ratio of background
    to objects in thesis Fig. 7.4 and L.1. It is near 1 throughout for losses that rank, and swings
    for cross entropy and focal loss. Unlike `RankingDiagnosticsHook` it works for any loss, and
    takes no backward pass of its own: the gradients are those of the training step, all losses of
    the scores together. Positives that RS Loss demotes count as lowering.

    Args:
        interval: Every so many iterations.

    Raises:
        ValueError: If the interval is below 1.
    """

    def __init__(self, interval: int = 50) -> None:
        if interval < 1:
            raise ValueError(f"Expected an interval of at least 1, but got {interval}.")
        self.interval = interval
        self._listening = contextlib.ExitStack()
        self._heads: list[HeadOutputs] = []

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        """Listen to the heads, when it is time."""
        if self.every_n_train_iters(runner, self.interval):
            self._heads = self._listening.enter_context(listening(unwrapped(runner), keep=True))

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None):
        """Log what was heard."""
        self._listening.close()
        heads, self._heads = self._heads, []
        for head in heads:
            gradients = [scores.grad for scores in head.scores if scores.grad is not None]
            parts = [head.by_direction(gradient.float()) for gradient in gradients]
            raising, lowering = (sum(part[way] for part in parts) for way in (0, 1))
            # A gradient scaler skips a step whose gradients overflow.
            if raising > 0 and math.isfinite(raising) and math.isfinite(lowering):
                name = head.name.replace(" ", "_")
                runner.message_hub.update_scalar(
                    f"train/{name}/lowering_over_raising", lowering / raising
                )

    def after_train(self, runner: Runner) -> None:
        """Stop listening, also when an iteration was broken off."""
        self._listening.close()
