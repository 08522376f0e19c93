"""A data set as a trained detector sees it: shares of losses and gradients, boxes refined."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import mmdet_rank._stack  # noqa: F401

import numpy as np
import torch
from mmdet.structures.bbox import bbox_overlaps, get_box_tensor
from mmengine.dataset import pseudo_collate
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdet_rank.criteria.balance import EpochBalance

from .gradients import HeadOutputs, gradient_shares, listening, scalar_losses
from .paces import task_of
from .priors import assign_image, head_with_priors

__all__ = ["error_shares", "measure_training"]


def measure_training(
    model: nn.Module,
    samples: Iterable[dict],
    *,
    batch_size: int = 2,
    progress: Callable[[Iterable], Iterable] = iter,
) -> dict[str, Any]:
    """Measure the shares of losses and gradients on training images, ready for JSON.

    The model stays as it is, with its running statistics and self-balances. Gradients are those
    with respect to the outputs of each head, summed in magnitude (thesis Fig. 3.16 and 7.4).

    Args:
        model: a detector, in any mode; it is in evaluation mode afterwards.
        samples: what a data set gives: ``inputs`` and ``data_samples``.
        batch_size: images at a time.
        progress: wraps an iterable with a progress bar.

    Returns:
        ``losses`` (mean of each, None where it is not finite), ``task_shares`` of the loss (none
        where it is not finite), and of finite gradients ``classification`` by head (shares
        of the gradient that raises scores and that lowers them, and their ratio), ``gradients`` by
        head (magnitudes at classification and boxes), and ``iou_before`` and ``iou_after`` of
        positives (thesis Fig. 3.12) where priors are assigned before predictions, with
        ``regression_errors``: by IoU after regression, the shares of the positives and of their L1
        and L2 errors (Fig. 3.11), of the four sides in units of the object's width and height.
    """
    samples = list(samples)
    batches = [samples[i : i + batch_size] for i in range(0, len(samples), batch_size)]
    losses: dict[str, list[float]] = {}
    parts: dict[str, dict[str, float]] = {}
    refined: list[_Refined] = []
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model.train()
    for module in model.modules():
        if isinstance(module, EpochBalance):
            # It gives the factor that training ended with, and counts no iteration.
            module.eval()
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
        refined += _refined(model, data, heads)
    model.eval()
    for name, buffer in model.named_buffers():
        buffer.copy_(before[name])
    means = {key: float(np.mean(values)) for key, values in losses.items()}
    # A detector that has diverged gives no numbers, and JSON has no others.
    parts = {n: part for n, part in parts.items() if all(map(math.isfinite, part.values()))}
    return {
        "images": len(samples),
        "losses": {key: mean if math.isfinite(mean) else None for key, mean in means.items()},
        "task_shares": _task_shares(means),
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
    } | _regression(refined)


def _task_shares(means: Mapping[str, float]) -> dict[str, float]:
    """Shares of the tasks in the sum of the losses; none where it is not finite."""
    total = sum(means.values())
    if not math.isfinite(total):
        return {}
    tasks: dict[str, float] = {}
    for key, value in means.items():
        task = task_of(key)
        tasks[task] = tasks.get(task, 0.0) + value
    return {task: value / (total or 1.0) for task, value in tasks.items()}


class _Refined(NamedTuple):
    """Positive priors of an image: their IoU before and after regression, and the errors then.

    Attributes:
        before: (P,).
        after: (P,).
        errors: (P, 4) of the left, upper, right and lower side, in the object's widths and heights.
    """

    before: Tensor
    after: Tensor
    errors: Tensor


def _refined(model: nn.Module, data: dict, heads: list[HeadOutputs]) -> list[_Refined]:
    """IoUs of the positive priors of each image before and after regression, and errors."""
    head, _ = head_with_priors(model)
    if head is None or not hasattr(head, "bbox_coder"):
        return []
    outputs = next(h for h in heads if h.name in ("rpn_head", "bbox_head")).boxes
    found = []
    for place, sample in enumerate(data["data_samples"]):
        gt = sample.gt_instances
        boxes = get_box_tensor(gt.bboxes)
        if not len(boxes):
            continue
        size = tuple(data["inputs"].shape[-2:])
        assigned = assign_image(head, size, InstanceData(bboxes=boxes, labels=gt.labels))
        flat = torch.cat([o[place].detach().permute(1, 2, 0).reshape(-1, 4) for o in outputs])
        if len(flat) != len(assigned.priors):
            return []  # priors beyond a border are left out, and their places are not known
        positive = assigned.gt_inds > 0
        decoded = head.bbox_coder.decode(assigned.priors[positive], flat[positive].float())
        refined, objects = get_box_tensor(decoded), boxes[assigned.gt_inds[positive] - 1]
        sides = (objects[:, 2:] - objects[:, :2]).clamp(min=1e-6).repeat(1, 2)
        found.append(
            _Refined(
                assigned.overlaps[positive].cpu(),
                bbox_overlaps(refined, objects, is_aligned=True).cpu(),
                ((refined - objects) / sides).cpu(),
            )
        )
    return found


def _regression(refined: Sequence[_Refined]) -> dict[str, Any]:
    if not refined:
        return {}
    before, after, errors = (torch.cat(parts) for parts in zip(*refined, strict=True))
    finite = after.isfinite() & errors.isfinite().all(1)
    before, after, errors = before[finite], after[finite], errors[finite]
    if not len(after):
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
        "regression_errors": error_shares(after, errors),
    }


def error_shares(ious: Tensor, errors: Tensor) -> dict[str, list[float]]:
    """How the L1 and L2 errors of boxes are spread over their IoUs (thesis Fig. 3.11).

    Args:
        ious: (P,) of the boxes with their objects, in [0, 1]; P is at least 1.
        errors: (P, 4) of their sides.

    Returns:
        ``edges`` of ten bins of IoU, and the shares of all ``boxes``, ``L1`` and ``L2`` in each.

    Example:
        >>> shares = error_shares(torch.tensor([0.25, 0.85]), torch.tensor([[0.3] * 4, [0.1] * 4]))
        >>> [round(shares[key][2], 2) for key in ("boxes", "L1", "L2")]
        [0.5, 0.75, 0.9]
    """
    edges = np.linspace(0, 1, 11)
    weights = {
        "boxes": torch.ones(len(ious), dtype=torch.float64),
        "L1": errors.double().abs().sum(1),
        "L2": errors.double().square().sum(1),
    }
    shares = {"edges": edges.tolist()}
    for key, weight in weights.items():
        counts = np.histogram(ious.double().clamp(0, 1), edges, weights=weight.numpy())[0]
        shares[key] = (counts / max(counts.sum(), 1e-300)).tolist()
    return shares
