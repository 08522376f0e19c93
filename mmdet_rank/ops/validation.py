"""Checks of what callers pass to the losses."""

from __future__ import annotations

import torch
from torch import Tensor


def check_inputs(logits: Tensor, targets: Tensor, delta: float, check_finite: bool) -> None:
    """Refuse what a ranking loss cannot work on; reads values only with ``check_finite``.

    Raises:
        TypeError: If logits or targets are no tensors, or logits no floats.
        ValueError: If they are not 1-D and equally long, on different devices, if delta is
            negative, or, with ``check_finite``, if a logit or target is NaN or infinite.
    """
    for name, value in (("logits", logits), ("targets", targets)):
        if not isinstance(value, Tensor):
            raise TypeError(f"Expected {name} to be a tensor, but got {type(value).__name__}.")
    if not logits.is_floating_point():
        raise TypeError(f"Expected floating point logits, but got {logits.dtype}.")
    if logits.dim() != 1 or logits.shape != targets.shape:
        raise ValueError(
            "Expected 1-D logits and targets of equal length, but got shapes "
            f"{tuple(logits.shape)} and {tuple(targets.shape)}; flatten them, class scores too."
        )
    if logits.device != targets.device:
        raise ValueError(
            f"Expected logits and targets on one device, but got {logits.device} and "
            f"{targets.device}."
        )
    if not delta >= 0:
        raise ValueError(f"Expected delta >= 0, but got {delta}.")
    if check_finite:
        for name, value in (("logits", logits), ("targets", targets)):
            bad = (~torch.isfinite(value)).sum().item()
            if bad:
                raise ValueError(
                    f"Expected finite {name}, but {bad} of {value.numel()} are NaN or infinite; "
                    "lower the learning rate or clip gradients if training diverged."
                )
