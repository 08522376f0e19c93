"""Small helpers around MMEngine's Runner."""

from __future__ import annotations

from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn


def unwrapped(runner: Runner) -> nn.Module:
    """Return the model of a runner without its wrapper for several processes."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model
