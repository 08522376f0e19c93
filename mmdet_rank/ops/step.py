"""The smoothed unit step that all ranking losses count with."""

from __future__ import annotations

import torch
from torch import Tensor


def unit_step(difference: Tensor, delta: float) -> Tensor:
    """Smoothed unit step H (thesis Eq. 6.5), or the hard step of Eq. 6.1 when ``delta`` is 0.

    Args:
        difference: Score differences ``s_j - s_i``, any shape, floating point.
        delta: Half width of the linear part, in units of the logits. At least 0.

    Returns:
        Same shape as ``difference``: 0 below ``-delta``, 1 above ``delta``, linear between.
        With ``delta=0``: 1 where ``difference >= 0``, else 0.

    Example:
        >>> unit_step(torch.tensor([-2.0, 0.0, 0.25, 2.0]), 0.5)
        tensor([0.0000, 0.5000, 0.7500, 1.0000])
        >>> unit_step(torch.tensor([-2.0, 0.0]), 0.0)
        tensor([0., 1.])
    """
    if delta == 0:
        return (difference >= 0).to(difference.dtype)
    return (difference / (2 * delta) + 0.5).clamp(0, 1)


def step_at_zero(delta: float) -> float:
    """H(0): what an example adds to its own rank when it is counted like every other one."""
    return 0.5 if delta > 0 else 1.0


def wide_dtype(device: torch.device) -> torch.dtype:
    """The widest float of a device: sums over many examples lose digits in float32."""
    return torch.float32 if device.type == "mps" else torch.float64
