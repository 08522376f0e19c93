"""Who is what among the examples: positives with their labels, ignored ones, and negatives."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

#: Half width of the step that logits of up to 10 in float32 resolve to a hundredth.
SMALLEST_DELTA = 1e-4


@dataclass
class Roles:
    """The positives by their places, and the negatives as all that is neither they nor ignored.

    Attributes:
        index: (P,) int64 places of the positives.
        labels: (P,) their labels.
        targets: (N,) the dense targets, or None where the roles were given by places.
        ignored: (I,) int64 places of the ignored, or None: none, or those that the targets say.
    """

    index: Tensor
    labels: Tensor
    targets: Tensor | None
    ignored: Tensor | None

    @functools.cached_property
    def others(self) -> Tensor:
        """Ascending places of all that are not negatives; dense targets are searched for them."""
        if self.targets is not None:
            return (self.targets != 0).nonzero().squeeze(1)
        positives = self.index.sort().values
        if self.ignored is None or not self.ignored.numel():
            return positives
        if self.ignored.device.type == "cpu":
            ignored = self.ignored.numpy()
            if (ignored[1:] > ignored[:-1]).all():  # as heads give them: many, in order
                own = positives.numpy()
                return torch.from_numpy(np.insert(ignored, ignored.searchsorted(own), own))
        return torch.cat([positives, self.ignored]).sort().values


def read_roles(
    logits: Tensor,
    targets: Tensor | None,
    positives: Tensor | None,
    labels: Tensor | None,
    ignored: Tensor | None,
    delta: float,
    check_finite: bool,
) -> Roles:
    """Roles of the examples from dense targets, or from the places of positives and ignored.

    Values on a GPU are read only with ``check_finite``. The host waits once for the number of
    positives of dense targets, and not at all for places.

    Args:
        logits: (N,) floats.
        targets: (N,) above 0: positive; 0: negative; below 0: ignored.
        positives: (P,) int64 places in the logits, none twice, in place of ``targets``.
        labels: (P,) label of each. Default: 1.
        ignored: (I,) int64 places of those that are neither. Default: none.
        delta: Half width of the step.
        check_finite: Refuse NaN and infinite logits, targets and labels, and places out of range.

    Raises:
        TypeError: If an input is not a tensor, logits are not floats or places are not int64.
        ValueError: If shapes or devices do not fit, if both or none of targets and positives are
            given, if delta is negative, if a place on a CPU is out of range or given twice, or,
            with ``check_finite``, if a value is NaN or infinite.
    """
    _check_tensor("logits", logits)
    if not logits.is_floating_point():
        raise TypeError(f"Expected floating point logits, but got {logits.dtype}.")
    if not delta >= 0:
        raise ValueError(f"Expected delta >= 0, but got {delta}.")
    if 0 < delta < SMALLEST_DELTA and logits.dtype != torch.float64:
        raise ValueError(
            f"Expected delta of 0 or at least {SMALLEST_DELTA} for logits of {logits.dtype}, but "
            f"got {delta}, which their digits do not resolve; give 0 for the hard step."
        )
    if (targets is None) == (positives is None):
        given = "none of them" if targets is None else "both"
        raise ValueError(f"Expected either targets or positives, but got {given}.")
    if targets is not None:
        if labels is not None or ignored is not None:
            raise ValueError(
                "Expected labels and ignored only with positives, but got targets; these say both."
            )
        return _dense_roles(logits, targets, check_finite)
    return _sparse_roles(logits, positives, labels, ignored, check_finite)  # type: ignore[arg-type]


def _dense_roles(logits: Tensor, targets: Tensor, check_finite: bool) -> Roles:
    _check_tensor("targets", targets)
    if logits.dim() != 1 or logits.shape != targets.shape:
        raise ValueError(
            "Expected 1-D logits and targets of equal length, but got shapes "
            f"{tuple(logits.shape)} and {tuple(targets.shape)}; flatten them, class scores too."
        )
    _check_device(logits, targets=targets)
    if check_finite:
        _check_finite(logits=logits, targets=targets)
    targets = targets.detach()
    index = (targets > 0).nonzero().squeeze(1)
    return Roles(index, targets[index], targets, None)


def _sparse_roles(
    logits: Tensor,
    positives: Tensor,
    labels: Tensor | None,
    ignored: Tensor | None,
    check_finite: bool,
) -> Roles:
    if logits.dim() != 1:
        raise ValueError(
            f"Expected 1-D logits, but got shape {tuple(logits.shape)}; flatten them, class "
            "scores too."
        )
    for name, places in (("positives", positives), ("ignored", ignored)):
        if places is None:
            continue
        _check_tensor(name, places)
        if places.dtype != torch.int64:
            raise TypeError(
                f"Expected {name} to be int64 places, but got {places.dtype}; use "
                "mask.nonzero().squeeze(1) of a mask."
            )
        if places.dim() != 1:
            raise ValueError(f"Expected 1-D {name}, but got shape {tuple(places.shape)}.")
        _check_device(logits, **{name: places})
    if labels is None:
        labels = positives.new_ones(positives.shape, dtype=torch.float32)
    _check_tensor("labels", labels)
    if labels.shape != positives.shape:
        raise ValueError(
            f"Expected one label per positive ({positives.numel()}), but got shape "
            f"{tuple(labels.shape)}."
        )
    _check_device(logits, labels=labels)
    roles = Roles(positives, labels.detach(), None, ignored)
    if check_finite:
        _check_finite(logits=logits, labels=labels)
    if check_finite or logits.device.type == "cpu":
        _check_places(roles, logits.numel())
    return roles


def _check_places(roles: Roles, size: int) -> None:
    places = roles.others
    if not places.numel():
        return
    low, high = places[0].item(), places[-1].item()
    if low < 0 or high >= size:
        raise ValueError(
            f"Expected places of positives and ignored within 0 and {size - 1}, but got "
            f"{low if low < 0 else high}."
        )
    if (places[1:] == places[:-1]).any():
        raise ValueError("Expected no place twice among positives and ignored, but got one.")


def _check_tensor(name: str, value: object) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"Expected {name} to be a tensor, but got {type(value).__name__}.")


def _check_device(logits: Tensor, **others: Tensor) -> None:
    for name, value in others.items():
        if value.device != logits.device:
            raise ValueError(
                f"Expected logits and {name} on one device, but got {logits.device} and "
                f"{value.device}."
            )


def _check_finite(**values: Tensor) -> None:
    for name, value in values.items():
        bad = (~torch.isfinite(value)).sum().item()
        if bad:
            raise ValueError(
                f"Expected finite {name}, but {bad} of {value.numel()} are NaN or infinite; "
                "lower the learning rate or clip gradients if training diverged."
            )
