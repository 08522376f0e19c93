"""Optimizer wrapper for mixed precision in bfloat16, on CPUs as on GPUs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmdet.registry import OPTIM_WRAPPERS
from mmengine.optim import OptimWrapper
from mmengine.runner import autocast
from torch import nn


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Train in bfloat16 where torch's autocast does, with weights and updates in float32.

    MMEngine's ``AmpOptimWrapper`` needs a GPU for its loss scale; bfloat16 has the range of
    float32 and needs none. It pays on CPUs with AMX or AVX-512 BF16 instructions; others emulate
    them, which is slower than float32.

    Example:
        >>> model = torch.nn.Linear(2, 2)
        >>> wrapper = BFloat16OptimWrapper(optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
        >>> with wrapper.optim_context(model):
        ...     output = model(torch.ones(1, 2))
        >>> output.dtype, model.weight.dtype
        (torch.bfloat16, torch.float32)
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Cast in the forward pass.

        Args:
            model: The model, wrapped or not.
        """
        with super().optim_context(model), autocast(dtype=torch.bfloat16):
            yield
