"""Gradients at the outputs of a detector's heads: which scores they raise, and which they lower."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["HeadOutputs", "by_direction", "gradient_shares", "listening", "scalar_losses"]


class HeadOutputs:
    """Outputs of a head's last forward passes: classification first, then boxes."""

    def __init__(self, name: str, module: nn.Module, keep: bool = False) -> None:
        self.name = name
        self.keep = keep
        # One of its classes is background, the last one. Some heads (SSD, CenterNet) have no
        # `loss_cls` of their own, of which SSD says itself that it takes a softmax.
        loss = getattr(module, "loss_cls", None)
        sigmoid = getattr(module, "use_sigmoid_cls", getattr(loss, "use_sigmoid", True))
        self.softmax = not sigmoid
        # Heads on a grid put out maps, whose channels are the classes of one prior after another.
        on_grid = self.softmax and hasattr(module, "prior_generator")
        self.map_classes = module.cls_out_channels if on_grid else None
        self.scores: list[Tensor] = []
        self.boxes: list[Tensor] = []

    def __call__(self, module: nn.Module, inputs: Any, outputs: Any) -> None:
        """Listen: a forward hook."""
        if isinstance(outputs, (tuple, list)) and len(outputs) >= 2:
            scores = _tensors(outputs[0])
            for tensor in scores if self.keep else ():
                tensor.retain_grad()
            self.scores += scores
            self.boxes += _tensors(outputs[1])

    def by_direction(self, gradient: Tensor) -> tuple[float, float]:
        """`by_direction` of a gradient at its scores."""
        if self.map_classes is not None:
            gradient = gradient.movedim(1, -1).reshape(-1, self.map_classes)
        return by_direction(gradient, self.softmax)


def gradient_shares(
    losses: Mapping[str, Any], heads: Iterable[HeadOutputs]
) -> dict[str, dict[str, float]]:
    """Summed gradient magnitudes at the outputs of each head.

    Args:
        losses: of a batch, attached to the graph.
        heads: that have listened to it.

    Returns:
        By head: ``raising`` and ``lowering``, of the scores of classes by a descent step, and
        ``boxes``. With a softmax, examples count whole: those whose background score is lowered are
        positives and raise.
    """
    heads = [head for head in heads if head.scores]
    total = sum(scalar_losses(losses).values())
    outputs = [tensor for head in heads for tensor in (*head.scores, *head.boxes)]
    if not outputs or not isinstance(total, Tensor) or not total.requires_grad:
        return {}
    gradients = iter(torch.autograd.grad(total, outputs, allow_unused=True, retain_graph=True))
    shares = {}
    for head in heads:
        scores = [next(gradients) for _ in head.scores]
        boxes = [next(gradients) for _ in head.boxes]
        parts = [head.by_direction(g) for g in scores if g is not None]
        shares[head.name] = {
            "raising": sum(raising for raising, _ in parts),
            "lowering": sum(lowering for _, lowering in parts),
            "boxes": sum(float(g.abs().sum()) for g in boxes if g is not None),
        }
    return shares


def by_direction(gradient: Tensor, softmax: bool) -> tuple[float, float]:
    """Magnitudes of a gradient that raise scores of classes, and that lower them.

    Args:
        gradient: any shape; with a softmax, the last axis is that of the classes, background last.
        softmax: examples count whole: those whose background score is lowered raise.
    """
    if softmax:
        magnitude = gradient.abs().sum(-1)
        raising = gradient[..., -1] > 0
        return float(magnitude[raising].sum()), float(magnitude[~raising].sum())
    return float((-gradient).clamp(min=0).sum()), float(gradient.clamp(min=0).sum())


@contextlib.contextmanager
def listening(model: nn.Module, *, keep: bool = False) -> Iterator[list[HeadOutputs]]:
    """Heads of a detector, with what they put out while the body runs.

    Args:
        model: The detector.
        keep: Have the backward pass leave the gradient of classification outputs in their
            ``grad``.
    """
    modules = {}
    for name in ("rpn_head", "bbox_head"):
        if isinstance(getattr(model, name, None), nn.Module):
            modules[name] = getattr(model, name)
    stages = getattr(getattr(model, "roi_head", None), "bbox_head", None)
    if isinstance(stages, nn.ModuleList):
        modules |= {f"roi_head stage {i + 1}": stage for i, stage in enumerate(stages)}
    elif isinstance(stages, nn.Module):
        modules["roi_head"] = stages
    heads = [HeadOutputs(name, module, keep) for name, module in modules.items()]
    hooks = [
        module.register_forward_hook(head)
        for head, module in zip(heads, modules.values(), strict=True)
    ]
    try:
        yield heads
    finally:
        for hook in hooks:
            hook.remove()


def scalar_losses(losses: Mapping[str, Any]) -> dict[str, Tensor]:
    """The losses that a training step adds up, each a scalar."""
    found = {}
    for key, value in losses.items():
        if "loss" in key:
            values = value if isinstance(value, (list, tuple)) else [value]
            found[key] = sum(v.mean() for v in values)
    return found


def _tensors(outputs: Any) -> list[Tensor]:
    if isinstance(outputs, Tensor):
        return [outputs] if outputs.requires_grad else []
    if isinstance(outputs, (tuple, list)):
        return [tensor for output in outputs for tensor in _tensors(output)]
    return []
