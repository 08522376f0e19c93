"""Gradients at the outputs of a branch, for balances and diagnostics."""

from __future__ import annotations

import torch
from torch import Tensor

#: Single negatives of millions have gradients below float16's smallest step. This factor, undone
#: afterwards, lifts them, and leaves the greatest, that of an only positive (1), finite.
HALF_SCALE = 2.0**14


def gradient(loss: Tensor, source: Tensor) -> Tensor:
    """Gradient of a scalar loss, float32, the graph being kept.

    Args:
        loss: Scalar, float32.
        source: The tensor that it was computed on, any floating dtype.

    Example:
        >>> x = torch.zeros(2, dtype=torch.float16, requires_grad=True)
        >>> gradient((x.float() * 1e-9).sum(), x)
        tensor([1.0004e-09, 1.0004e-09])
    """
    scale = HALF_SCALE if source.dtype == torch.float16 else 1.0
    (found,) = torch.autograd.grad(loss * scale, source, retain_graph=True)
    return found.detach().float() / scale
