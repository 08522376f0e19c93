"""How far a training is, with an honest time left."""

from __future__ import annotations

import math
import statistics
import time
from collections import deque
from typing import Any, TextIO

from mmengine.hooks import Hook
from mmengine.runner import Runner
from tqdm import tqdm

#: A validation step is a forward pass, of the three or so that a training step takes.
_SHARE_OF_STEP = 0.4
_RECENT = 50
_MINUTE = 60


class ProgressHook(Hook):
    """Shows a bar, and the time left with that of the evaluations to come.

    The time of a step, from the end of the one before, has the wait for its images in it. It is the
    mean of recent ones, since several processes load images in bursts; the first, which waits for
    them to begin, counts no longer than it is alone. The time of an evaluation is the mean of those
    that were; before the first one, it is reckoned from the steps.

    Args:
        stream: Where to write.
    """

    priority = "VERY_LOW"

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.first: float | None = None
        self.steps: deque[float] = deque(maxlen=_RECENT)
        self.evaluations: list[float] = []
        self.loss = ""
        self.figures = ""

    def before_train(self, runner: Runner) -> None:
        """Begin the bar."""
        self.bar = tqdm(
            total=runner.max_iters,
            initial=runner.iter,
            file=self.stream,
            unit="step",
            desc="training",
            bar_format="{desc} {percentage:3.0f}% |{bar:20}| {n_fmt}/{total_fmt}{postfix}",
            mininterval=0.5,
        )

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Note when the first step began."""
        if self.first is None:
            self.began = time.perf_counter()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Move the bar. The loss is that of the log, for reading it anew would wait for the GPU."""
        now = time.perf_counter()
        if self.first is None:
            self.first = now - self.began
        else:
            self.steps.append(now - self.began)
        self.began = now
        history = runner.message_hub.log_scalars.get("train/loss")
        if history is not None and self.every_n_train_iters(runner, 10):
            self.loss = f", loss {history.current():.3f}"
        left = self.time_left(runner)
        self.bar.set_postfix_str(f"{_duration(left)} left{self.loss}{self.figures}", refresh=False)
        self.bar.update()

    def before_val(self, runner: Runner) -> None:
        """Note when an evaluation began."""
        self.began_evaluation = time.perf_counter()

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Note its figures and how long it took."""
        self.evaluations.append(time.perf_counter() - self.began_evaluation)
        for key, value in (metrics or {}).items():
            if key.endswith("bbox_mAP"):
                self.figures = f", AP {100 * value:.1f}"

    def after_val(self, runner: Runner) -> None:
        """Leave the evaluation out of the next step."""
        self.began = time.perf_counter()

    def after_train(self, runner: Runner) -> None:
        """End the bar."""
        self.bar.close()

    def time_left(self, runner: Runner) -> float:
        """Seconds until the last step and the evaluations are done, one more at the end."""
        step = statistics.fmean(self.steps) if self.steps else self.first or 0.0
        interval = runner.val_interval or runner.max_iters
        done = runner.iter + 1
        # That of the step just done is to come, and that of the last step, whatever its number.
        to_come = math.ceil(runner.max_iters / interval) - runner.iter // interval + 1
        if self.evaluations:
            evaluation = statistics.fmean(self.evaluations)
        else:
            evaluation = step * _SHARE_OF_STEP * len(runner.val_dataloader)
        return step * (runner.max_iters - done) + evaluation * to_come


def _duration(seconds: float) -> str:
    """A time in words.

    Example:
        >>> _duration(42), _duration(100), _duration(4000)
        ('42 s', '1 min 40 s', '1 h 06 min')
    """
    seconds = round(seconds)
    if seconds < _MINUTE:
        return f"{seconds} s"
    minutes, rest = divmod(seconds, _MINUTE)
    if minutes < _MINUTE:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // _MINUTE} h {minutes % _MINUTE:02d} min"
