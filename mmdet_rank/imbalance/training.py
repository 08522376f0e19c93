"""A data set as a trained detector sees it: shares of losses and gradients, boxes refined."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from mmdet.structures.bbox import bbox_overlaps, get_box_tensor
from mmengine.dataset import pseudo_collate
from mmengine.structures import InstanceData
from torch import Tensor, nn

from .gradients import HeadOutputs, gradient_shares, listening, scalar_losses
from .priors import assign_image, head_with_priors

__all__ = ["measure_training"]

# What names of classification losses hold, auxiliary ones among them.
_CLASSIFICATION = ("cls", "obj", "centerness", "score")


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
        with listening(model) as heads:
            found = model.loss(data["inputs"], data["data_samples"])
        for key, value in scalar_losses(found).items():
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


def _refined(model: nn.Module, data: dict, heads: list[HeadOutputs]) -> tuple[Tensor, Tensor]:
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


def _task(key: str) -> str:
    if "mask" in key or "segm" in key:
        return "masks"
    if any(part in key for part in _CLASSIFICATION) and "bbox" not in key:
        return "classification"
    return "boxes"
