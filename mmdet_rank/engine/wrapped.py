"""The model in the wrapper that training on several processes puts around it."""

from __future__ import annotations

from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn


def unwrapped(runner: Runner) -> nn.Module:
    """Model of a runner, without its wrapper for several processes."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model
