"""From an old state dict to one that a model of this package loads strictly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from mmdet_rank.criteria.balance import EpochBalance

from .names import rename

NUM_EXAMPLES = 5


class ConversionError(ValueError):
    """A checkpoint that is none of the model's."""


@dataclass
class Conversion:
    """A converted state dict, and what was done to get it.

    Attributes:
        state_dict: All tensors of the model, by name.
        renamed: Old name to new name, of tensors whose names differ.
        dropped: Part of a detector that the model does without, to how many tensors it had.
        filled: Names of buffers that the old implementation did not save, at their first values.
    """

    state_dict: dict[str, Tensor]
    renamed: dict[str, str] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)
    filled: list[str] = field(default_factory=list)


def convert_state_dict(old: Mapping[str, Tensor], model: nn.Module) -> Conversion:
    """Rename an old state dict's tensors to those of a model, all of them and no others.

    Args:
        old: State dict of a checkpoint of the RankSortLoss or aLRPLoss repositories.
        model: The model that the checkpoint is for, as its config here builds it; not changed.

    Returns:
        The conversion. Its state dict has exactly the names and shapes of the model's.

    Raises:
        ConversionError: A tensor of the model is missing, one of the checkpoint is unknown to the
            model, two become the same, or a shape differs.
    """
    expected = model.state_dict()
    conversion = Conversion({})
    unknown = []
    for old_name, value in old.items():
        name, auxiliary = rename(old_name)
        if name not in expected:
            if auxiliary is None:
                unknown.append(old_name)
            else:
                conversion.dropped[auxiliary] += 1
            continue
        if name in conversion.state_dict:
            raise ConversionError(
                f"Expected one tensor for {name}, but {old_name} and another one stand for it."
            )
        if name != old_name:
            conversion.renamed[old_name] = name
        conversion.state_dict[name] = value
    for name in _not_saved_then(model):
        if name not in conversion.state_dict:
            conversion.state_dict[name] = expected[name].detach().clone()
            conversion.filled.append(name)
    _refuse_differences(conversion.state_dict, expected, unknown)
    conversion.state_dict = {name: conversion.state_dict[name] for name in expected}
    return conversion


def _not_saved_then(model: nn.Module) -> Iterable[str]:
    """Buffers that the published implementations kept outside of their checkpoints."""
    for module_name, module in model.named_modules():
        if isinstance(module, EpochBalance):
            for name, _ in module.named_buffers():
                yield f"{module_name}.{name}"
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):
            yield f"{module_name}.num_batches_tracked"


def _refuse_differences(
    state_dict: Mapping[str, Tensor], expected: Mapping[str, Tensor], unknown: list[str]
) -> None:
    missing = [name for name in expected if name not in state_dict]
    differing = [
        f"{name} {tuple(value.shape)} instead of {tuple(expected[name].shape)}"
        for name, value in state_dict.items()
        if not isinstance(value, torch.Tensor) or value.shape != expected[name].shape
    ]
    if not (missing or differing or unknown):
        return
    lines = ["Expected the tensors of this config's model, but the checkpoint differs from it:"]
    lines += _examples("missing in the checkpoint", missing)
    lines += _examples("of another shape", differing)
    lines += _examples("unknown to the model", unknown)
    lines.append(
        "Give the config of the same detector, backbone and number of classes "
        "(--cfg-options model.bbox_head.num_classes=... for classes of your own)."
    )
    raise ConversionError("\n".join(lines))


def _examples(what: str, names: list[str]) -> list[str]:
    if not names:
        return []
    more = f", and {len(names) - NUM_EXAMPLES} more" if len(names) > NUM_EXAMPLES else ""
    return [f"  {len(names)} {what}: {', '.join(names[:NUM_EXAMPLES])}{more}"]
