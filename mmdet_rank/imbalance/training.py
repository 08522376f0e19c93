"""What a trained detector makes of a data set: shares of losses and gradients, boxes refined."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from mmdet.structures.bbox import bbox_overlaps, get_box_tensor
from mmengine.dataset import pseudo_collate
from mmengine.structures import InstanceData
from torch import Tensor, nn

from .priors import assign_image, head_with_priors

__all__ = ["gradient_shares", "measure_training"]

# What names of classification losses hold, auxiliary ones among them.
_CLASSIFICATION = ("cls", "obj", "centerness", "score")


class _Head:
    """Outputs of a head's last forward passes: classification first, then boxes."""

    def __init__(self, name: str, module: nn.Module) -> None:
        self.name = name
        # One of its classes is background, the last one.
        self.softmax = not getattr(module.loss_cls, "use_sigmoid", True)
        self.scores: list[Tensor] = []
        self.boxes: list[Tensor] = []

    def __call__(self, module: nn.Module, inputs: Any, outputs: Any) -> None:
        if isinstance(outputs, (tuple, list)) and len(outputs) >= 2:
            self.scores += _tensors(outputs[0])
            self.boxes += _tensors(outputs[1])


def measure_training(
    model: nn.Module,
    samples: Iterable[dict],
    *,
    batch_size: int = 2,
    progress: Callable[[Iterable], Iterable] = iter,
) -> dict[str, Any]:
    """Measure the shares of losses and gradients on training images, ready for JSON.

    The model's weights stay as they are. Gradients are those with respect to the outputs of each
    head, summed in magnitude (thesis Fig. 3.16, 3.17 and 7.4).

    Args:
        model: a detector, in any mode; it is in evaluation mode afterwards.
        samples: what a data set gives: ``inputs`` and ``data_samples``.
        batch_size: images at a time.
        progress: wraps an iterable with a progress bar.

    Returns:
        ``losses`` (mean of each), ``task_shares`` of the loss, ``classification`` by head (shares
        of the gradient that raises scores and that lowers them, and their ratio), ``gradients`` by
        head (magnitudes at classification and boxes), and ``iou_before`` and ``iou_after`` of
        positives (thesis Fig. 3.12) where priors are assigned before predictions.
    """
    samples = list(samples)
    batches = [samples[i : i + batch_size] for i in range(0, len(samples), batch_size)]
    losses: dict[str, list[float]] = {}
    parts: dict[str, dict[str, float]] = {}
    before: list[Tensor] = []
    after: list[Tensor] = []
    model.train()
    for batch in progress(batches):
        data = model.data_preprocessor(pseudo_collate(batch), training=True)
        with _listening(model) as heads:
            found = model.loss(data["inputs"], data["data_samples"])
        for key, value in _scalars(found).items():
            losses.setdefault(key, []).append(float(value.detach()))
        for name, shares in gradient_shares(found, heads).items():
            sums = parts.setdefault(name, dict.fromkeys(shares, 0.0))
            for key, value in shares.items():
                sums[key] += value
        one, other = _refined(model, data, heads)
        before.append(one)
        after.append(other)
    model.eval()
    means = {key: float(np.mean(values)) for key, values in losses.items()}
    tasks: dict[str, float] = {}
    for key, value in means.items():
        task = _task(key)
        tasks[task] = tasks.get(task, 0.0) + value
    total = sum(tasks.values()) or 1.0
    return {
        "images": len(samples),
        "losses": means,
        "task_shares": {task: value / total for task, value in tasks.items()},
        "classification": {
            name: {
                "raising": part["raising"] / max(part["raising"] + part["lowering"], 1e-30),
                "lowering": part["lowering"] / max(part["raising"] + part["lowering"], 1e-30),
                "ratio": part["lowering"] / max(part["raising"], 1e-30),
            }
            for name, part in parts.items()
        },
        "gradients": {
            name: {
                "classification": part["raising"] + part["lowering"],
                "boxes": part["boxes"],
            }
            for name, part in parts.items()
        },
    } | _iou_histograms(torch.cat(before), torch.cat(after))


def gradient_shares(
    losses: Mapping[str, Any], heads: Iterable[_Head]
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
    total = sum(_scalars(losses).values())
    outputs = [tensor for head in heads for tensor in (*head.scores, *head.boxes)]
    if not outputs or not isinstance(total, Tensor) or not total.requires_grad:
        return {}
    gradients = iter(torch.autograd.grad(total, outputs, allow_unused=True, retain_graph=True))
    shares = {}
    for head in heads:
        scores = [next(gradients) for _ in head.scores]
        boxes = [next(gradients) for _ in head.boxes]
        parts = [_by_direction(g, head.softmax) for g in scores if g is not None]
        shares[head.name] = {
            "raising": sum(raising for raising, _ in parts),
            "lowering": sum(lowering for _, lowering in parts),
            "boxes": sum(float(g.abs().sum()) for g in boxes if g is not None),
        }
    return shares


def _by_direction(gradient: Tensor, softmax: bool) -> tuple[float, float]:
    """Magnitudes of a gradient that raise scores of classes, and that lower them."""
    if softmax:
        magnitude = gradient.abs().sum(-1)
        raising = gradient[..., -1] > 0
        return float(magnitude[raising].sum()), float(magnitude[~raising].sum())
    return float((-gradient).clamp(min=0).sum()), float(gradient.clamp(min=0).sum())


@contextlib.contextmanager
def _listening(model: nn.Module) -> Iterator[list[_Head]]:
    """Heads of a detector, with what they put out while the body runs."""
    modules = {}
    for name in ("rpn_head", "bbox_head"):
        if isinstance(getattr(model, name, None), nn.Module):
            modules[name] = getattr(model, name)
    stages = getattr(getattr(model, "roi_head", None), "bbox_head", None)
    if isinstance(stages, nn.ModuleList):
        modules |= {f"roi_head stage {i + 1}": stage for i, stage in enumerate(stages)}
    elif isinstance(stages, nn.Module):
        modules["roi_head"] = stages
    heads = [_Head(name, module) for name, module in modules.items()]
    hooks = [
        module.register_forward_hook(head)
        for head, module in zip(heads, modules.values(), strict=True)
    ]
    try:
        yield heads
    finally:
        for hook in hooks:
            hook.remove()


def _refined(model: nn.Module, data: dict, heads: list[_Head]) -> tuple[Tensor, Tensor]:
    """IoU of positive priors with their object, and of what regression makes of them."""
    head, _ = head_with_priors(model)
    nothing = torch.zeros(0), torch.zeros(0)
    if head is None or not hasattr(head, "bbox_coder"):
        return nothing
    outputs = next(h for h in heads if h.name in ("rpn_head", "bbox_head")).boxes
    before, after = [nothing[0]], [nothing[1]]
    for place, sample in enumerate(data["data_samples"]):
        gt = sample.gt_instances
        boxes = get_box_tensor(gt.bboxes)
        if not len(boxes):
            continue
        size = tuple(data["inputs"].shape[-2:])
        assigned = assign_image(head, size, InstanceData(bboxes=boxes, labels=gt.labels))
        flat = torch.cat([o[place].detach().permute(1, 2, 0).reshape(-1, 4) for o in outputs])
        if len(flat) != len(assigned.priors):
            return nothing  # priors beyond a border are left out, and their places are not known
        positive = assigned.gt_inds > 0
        refined = head.bbox_coder.decode(assigned.priors[positive], flat[positive].float())
        objects = boxes[assigned.gt_inds[positive] - 1]
        before.append(assigned.overlaps[positive])
        after.append(bbox_overlaps(get_box_tensor(refined), objects, is_aligned=True))
    return torch.cat(before).cpu(), torch.cat(after).cpu()


def _iou_histograms(before: Tensor, after: Tensor) -> dict[str, Any]:
    if not len(before):
        return {}
    edges = np.linspace(0, 1, 21)
    bins = np.clip(np.digitize(before.numpy(), np.linspace(0, 1, 11)) - 1, 0, 9)
    return {
        "iou_before": {"edges": edges.tolist(), "counts": np.histogram(before, edges)[0].tolist()},
        "iou_after": {"edges": edges.tolist(), "counts": np.histogram(after, edges)[0].tolist()},
        "iou_mean": {"before": float(before.mean()), "after": float(after.mean())},
        "iou_after_by_before": [
            float(after.numpy()[bins == b].mean()) if (bins == b).any() else None for b in range(10)
        ],
        "made_worse": float((after < before).float().mean()),
    }


def _scalars(losses: Mapping[str, Any]) -> dict[str, Tensor]:
    """The losses that a training step adds up, each a scalar."""
    found = {}
    for key, value in losses.items():
        if "loss" in key:
            values = value if isinstance(value, (list, tuple)) else [value]
            found[key] = sum(v.mean() for v in values)
    return found


def _task(key: str) -> str:
    if "mask" in key or "segm" in key:
        return "masks"
    if any(part in key for part in _CLASSIFICATION) and "bbox" not in key:
        return "classification"
    return "boxes"


def _tensors(outputs: Any) -> list[Tensor]:
    if isinstance(outputs, Tensor):
        return [outputs] if outputs.requires_grad else []
    if isinstance(outputs, (tuple, list)):
        return [tensor for output in outputs for tensor in _tensors(output)]
    return []
