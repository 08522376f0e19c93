"""A data set as a config's priors (anchors, points) see it: foreground, background, IoUs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import mmdet_rank._stack  # noqa: F401

import mmcv
import numpy as np
import torch
from mmdet.models.task_modules.assigners import ATSSAssigner, MaxIoUAssigner
from mmdet.models.task_modules.prior_generators import anchor_inside_flags
from mmdet.structures.bbox import bbox_overlaps
from mmengine.config import Config
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdet_rank.models.task_modules.per_level_assigner import PerLevelAssigner

from .objects import Objects

__all__ = ["AssignedImage", "assign_image", "head_with_priors", "measure_priors"]

_SIZES = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, np.inf)}


class AssignedImage(NamedTuple):
    """The priors of an image and their objects.

    Attributes:
        priors: (A, 4) boxes in pixels of the image as the detector sees it.
        level: (A,) pyramid level of each.
        gt_inds: (A,) place of the object plus 1, 0 for background, -1 for ignored.
        overlaps: (A,) IoU with the object, 0 for the others.
    """

    priors: Tensor
    level: Tensor
    gt_inds: Tensor
    overlaps: Tensor


def head_with_priors(model: nn.Module) -> tuple[nn.Module | None, str]:
    """The head of a detector whose priors are assigned before anything is predicted.

    Returns:
        The head, or None and the reason in a sentence.
    """
    head = getattr(model, "rpn_head", None) or getattr(model, "bbox_head", None)
    name = type(head or model).__name__
    if head is None or not hasattr(head, "prior_generator"):
        return None, f"{name} has no priors on a grid."
    assigner = _assigner(head)
    if not isinstance(assigner, (MaxIoUAssigner, ATSSAssigner)):
        how = type(assigner).__name__ if assigner is not None else "rules of its own"
        return None, (
            f"{name} assigns by {how}: that depends on its predictions, or on points without a box."
        )
    return head, ""


def _assigner(head: nn.Module) -> Any:
    """The assigner of a head; of one that is told the levels, the one that asks for them."""
    assigner = getattr(head, "assigner", None)
    return assigner.assigner if isinstance(assigner, PerLevelAssigner) else assigner


def assign_image(head: nn.Module, size: tuple[int, int], gt: InstanceData) -> AssignedImage:
    """Assign the priors of one image as the head does in training.

    Args:
        head: as `head_with_priors` gives it.
        size: height and width that the image has for the detector, padding included.
        gt: ``bboxes`` (K, 4) in its pixels, and ``labels``.
    """
    strides = head.prior_generator.strides
    maps = [(-(-size[0] // s[1]), -(-size[1] // s[0])) for s in strides]
    levels = head.prior_generator.grid_priors(maps, device=gt.bboxes.device)
    priors = torch.cat(levels)
    level = torch.repeat_interleave(
        torch.arange(len(levels), device=priors.device),
        torch.tensor([len(level) for level in levels], device=priors.device),
    )
    border = head.train_cfg.get("allowed_border", -1)
    flags = torch.cat(head.prior_generator.valid_flags(maps, size, device=gt.bboxes.device))
    flags = anchor_inside_flags(priors, flags, size, border)
    priors, level = priors[flags], level[flags]
    instances = InstanceData(priors=priors)
    assigner = _assigner(head)
    if isinstance(assigner, ATSSAssigner):
        result = assigner.assign(instances, torch.bincount(level).tolist(), gt)
    else:
        result = assigner.assign(instances, gt)
    overlaps = priors.new_zeros(len(priors))
    found = result.gt_inds > 0
    overlaps[found] = bbox_overlaps(
        priors[found], gt.bboxes[result.gt_inds[found] - 1], is_aligned=True
    )
    return AssignedImage(priors, level, result.gt_inds, overlaps)


def measure_priors(
    config: Config,
    model: nn.Module,
    objects: Objects,
    *,
    max_images: int = 100,
    progress: Callable[[Iterable], Iterable] = iter,
) -> dict[str, Any]:
    """Measure foreground and background among a config's priors, ready for JSON.

    Args:
        config: of the detector; the first resizing of its training pipeline gives the image size.
        model: built from it.
        objects: the data set.
        max_images: images to look at, spread evenly over those that have objects.
        progress: wraps an iterable with a progress bar.

    Returns:
        ``head`` and ``ranks`` (whether it trains by a ranking loss); and either ``why_not``, or
        counts per image, level and class, ``unreached`` (share of objects without a positive
        prior), and the IoUs of the positives.
    """
    head, reason = head_with_priors(model)
    named = head or getattr(model, "rpn_head", None) or getattr(model, "bbox_head", model)
    found: dict[str, Any] = {
        "head": type(named).__name__,
        "ranks": hasattr(named, "criterion"),
    }
    if head is None:
        return found | {"why_not": reason}
    with_objects = np.unique(objects.image)
    chosen = with_objects[
        np.linspace(0, len(with_objects) - 1, min(max_images, len(with_objects))).astype(int)
    ]
    order = np.argsort(objects.image, kind="stable")
    starts = np.searchsorted(objects.image[order], chosen)
    stops = np.searchsorted(objects.image[order], chosen, side="right")
    num_levels = head.prior_generator.num_levels
    positives, negatives = np.zeros(num_levels), np.zeros(num_levels)
    ignored = priors = 0
    per_object, overlaps, labels, areas, per_image = [], [], [], [], []
    resize = resizing(config)
    divisor = getattr(model.data_preprocessor, "pad_size_divisor", 1) or 1
    for image, start, stop in progress(list(zip(chosen, starts, stops, strict=True))):
        rows = order[start:stop]
        width, height = objects.sizes[image]
        new_width, new_height = resize(int(width), int(height))
        scale = np.array([new_width / width, new_height / height] * 2)
        boxes = objects.boxes[rows]
        corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1) * scale
        gt = InstanceData(
            bboxes=torch.from_numpy(corners).float(), labels=torch.from_numpy(objects.label[rows])
        )
        padded = (-(-new_height // divisor) * divisor, -(-new_width // divisor) * divisor)
        assigned = assign_image(head, padded, gt)
        positive = assigned.gt_inds > 0
        positives += np.bincount(assigned.level[positive], minlength=num_levels)
        negatives += np.bincount(assigned.level[assigned.gt_inds == 0], minlength=num_levels)
        ignored += int((assigned.gt_inds < 0).sum())
        priors += len(assigned.priors)
        per_image.append(int(positive.sum()))
        per_object.append(np.bincount(assigned.gt_inds[positive] - 1, minlength=len(rows)))
        overlaps.append(assigned.overlaps[positive].numpy())
        labels.append(objects.label[rows])
        areas.append(boxes[:, 2] * boxes[:, 3])
    number = np.concatenate(per_object)
    iou = np.concatenate(overlaps)
    label, area = np.concatenate(labels), np.concatenate(areas)
    counts, edges = np.histogram(np.clip(iou, 0, 1), bins=20, range=(0, 1))
    return found | {
        "images": len(chosen),
        "priors_per_image": priors / len(chosen),
        "positives_per_image": float(positives.sum() / len(chosen)),
        "ignored_per_image": ignored / len(chosen),
        "negatives_per_positive": float(negatives.sum() / max(positives.sum(), 1)),
        "positives_of_images": per_image,
        "per_level": [
            {
                "stride": int(s[0]),
                "positives": float(p / len(chosen)),
                "negatives": float(n / len(chosen)),
            }
            for s, p, n in zip(head.prior_generator.strides, positives, negatives, strict=True)
        ],
        "positives_per_object": {
            objects.classes[c]: float(number[label == c].mean()) for c in np.unique(label)
        },
        "unreached": float((number == 0).mean()),
        "unreached_by_size": {
            name: float((number[inside] == 0).mean()) if inside.any() else 0.0
            for name, (low, high) in _SIZES.items()
            for inside in [(area >= low) & (area < high)]
        },
        "iou_of_positives": {"edges": edges.tolist(), "counts": counts.tolist()},
        "low_iou_share": float((iou < 0.6).mean()) if iou.size else 0.0,
        "high_iou_share": float((iou >= 0.8).mean()) if iou.size else 0.0,
    }


def resizing(config: Config) -> Callable[[int, int], tuple[int, int]]:
    """Effect of the training pipeline on the width and height of an image.

    Of several scales the one in the middle is taken; without any resizing the size stays.
    """
    step = next(_resizes(config.train_dataloader.dataset), None)
    if step is None:
        return lambda width, height: (width, height)
    scale = step.get("scale") or step.get("scales")
    scales = scale if isinstance(scale, (list, tuple)) else [scale]
    scales = [scales] if isinstance(scale, tuple) and isinstance(scales[0], int) else scales
    pairs = [(each, each) if isinstance(each, int) else tuple(each) for each in scales]
    scale = sorted(pairs)[len(pairs) // 2]
    # The default of mmcv's Resize, by which the others that choose a scale resize too.
    keep = step.get("keep_ratio", "Shortest" in step["type"])

    def resize(width: int, height: int) -> tuple[int, int]:
        if not keep:
            return scale
        return mmcv.rescale_size((width, height), scale)

    return resize


def _resizes(config: Any) -> Iterator[Any]:
    """Every step of a pipeline that resizes to a given scale, wherever it stands."""
    if isinstance(config, dict):
        if "Resize" in str(config.get("type", "")) and {"scale", "scales"} & set(config):
            yield config
        for value in config.values():
            yield from _resizes(value)
    elif isinstance(config, (list, tuple)):
        for value in config:
            yield from _resizes(value)
