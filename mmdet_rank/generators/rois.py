"""The positive RoI generator: RoIs of wanted classes and IoUs (thesis Alg. 2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .boxes import generate_boxes

__all__ = ["IOU_BASES", "IOU_WEIGHTS", "GeneratedRoIs", "allocate_rois", "generate_rois"]

#: Lower ends of the IoU bins (thesis 4.4).
IOU_BASES = (0.5, 0.6, 0.7, 0.8, 0.9)
#: Shares of the bins by the names of thesis Table 4.1. The thesis prints none of them: uniform is
#: that, and the skews are a choice made here, with most RoIs of high IoU in "right_skew".
IOU_WEIGHTS = {
    "uniform": (0.2, 0.2, 0.2, 0.2, 0.2),
    "right_skew": (1 / 15, 2 / 15, 3 / 15, 4 / 15, 5 / 15),
    "left_skew": (5 / 15, 4 / 15, 3 / 15, 2 / 15, 1 / 15),
    "base": (1.0, 0.0, 0.0, 0.0, 0.0),
}
#: No RoI is asked for more than this: the last bin ends here, as in the published code.
HIGHEST_IOU = 0.95


class GeneratedRoIs(NamedTuple):
    """RoIs and what they were made from.

    Attributes:
        rois: (N, 4) boxes.
        objects: (N,) int64 place of each RoI's object.
        min_ious: (N,) float64 least IoU that each was asked for.
    """

    rois: Tensor
    objects: Tensor
    min_ious: Tensor


def allocate_rois(
    labels: Tensor,
    num: int,
    *,
    balanced: bool = True,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Share RoIs over classes, then over the objects of each (``fgBalancedRoIAlloc``, 4.3.2).

    What does not divide evenly goes, one each, to classes and objects at random.

    Args:
        labels: (M,) integer classes of the objects of an image.
        num: RoIs in all, at least 0.
        balanced: Share over the classes first; without it over the objects alike.
        generator: Source of randomness, as in `generate_boxes`.

    Returns:
        (M,) int64 with sum ``num`` (0 without any object), on the device of ``labels``.

    Raises:
        ValueError: If ``num`` is negative.

    Example:
        >>> allocate_rois(torch.tensor([4, 4, 1]), 8)
        tensor([2, 2, 4])
    """
    if num < 0:
        raise ValueError(f"Expected num >= 0, but got {num}.")
    if not balanced:
        labels = torch.zeros_like(labels)
    counts = torch.zeros(len(labels), dtype=torch.int64, device=labels.device)
    classes = labels.unique()
    per_class = _shares(num, len(classes), generator)
    for label, share in zip(classes, per_class, strict=True):
        members = (labels == label).nonzero().squeeze(1)
        counts[members] = torch.tensor(
            _shares(share, len(members), generator), device=labels.device
        )
    return counts


def generate_rois(
    boxes: Tensor,
    labels: Tensor,
    num: int,
    *,
    weights: str | Sequence[float] = "uniform",
    bases: Sequence[float] = IOU_BASES,
    within_bins: bool = True,
    balanced: bool = True,
    image_shape: tuple[int, int] | None = None,
    generator: torch.Generator | None = None,
) -> GeneratedRoIs:
    """Positive RoIs of an image with wanted classes and IoUs (thesis Alg. 2).

    Args:
        boxes: (M, 4) objects as x1, y1, x2, y2, with an area, floats.
        labels: (M,) integer classes.
        num: RoIs in all.
        weights: Shares of the IoU bins, one per base; or a name of ``IOU_WEIGHTS``.
        bases: Lower ends of the bins, ascending, in (0, 1).
        within_bins: Ask each RoI for an IoU drawn evenly from its bin, up to 0.95 in the last, as
            the published code does; without it for the base of the bin, as the thesis is worded.
            Either is a *least* IoU: RoIs lie just above it.
        balanced: See `allocate_rois`.
        image_shape: (height, width) that RoIs are clipped to. None: no clipping.
        generator: Source of randomness, as in `generate_boxes`.

    Returns:
        ``num`` RoIs in the order of their objects; none without any object.

    Raises:
        ValueError: If weights and bases do not fit, or as `generate_boxes`.

    Example:
        >>> boxes = torch.tensor([[10.0, 10.0, 50.0, 40.0], [60.0, 5.0, 90.0, 25.0]])
        >>> made = generate_rois(boxes, torch.tensor([3, 1]), 6, weights="right_skew")
        >>> made.rois.shape, made.objects
        (torch.Size([6, 4]), tensor([0, 0, 0, 1, 1, 1]))
    """
    shares, lower, upper = _bins(weights, bases)
    counts = allocate_rois(labels, num, balanced=balanced, generator=generator)
    objects = torch.arange(len(boxes), device=boxes.device)
    objects = objects.repeat_interleave(counts.to(boxes.device))
    device = boxes.device if generator is None else generator.device
    if len(objects):
        picks = torch.multinomial(shares.to(device), len(objects), True, generator=generator)
        min_ious = lower.to(device)[picks]
        if within_bins:
            draws = torch.rand(len(objects), device=device, generator=generator)
            min_ious = min_ious + draws * (upper.to(device)[picks] - min_ious)
        min_ious = min_ious.to(boxes.device)
    else:
        min_ious = lower.new_zeros(0).to(boxes.device)
    rois = generate_boxes(boxes[objects], min_ious, 1, generator).squeeze(1)
    if image_shape is not None:
        height, width = image_shape
        # Clipping takes nothing off the overlap with an object inside the image.
        rois = torch.minimum(rois.clamp(min=0), rois.new_tensor([width, height, width, height]))
    return GeneratedRoIs(rois, objects, min_ious)


def _shares(num: int, parts: int, generator: torch.Generator | None) -> list[int]:
    if not parts:
        return []
    shares = [num // parts] * parts
    device = "cpu" if generator is None else generator.device
    for lucky in torch.randperm(parts, generator=generator, device=device)[: num % parts].tolist():
        shares[lucky] += 1
    return shares


def _bins(weights: str | Sequence[float], bases: Sequence[float]) -> tuple[Tensor, Tensor, Tensor]:
    """Shares, lower and upper ends of the bins."""
    if isinstance(weights, str):
        if weights not in IOU_WEIGHTS:
            raise ValueError(
                f"Expected weights to be one of {sorted(IOU_WEIGHTS)} or numbers, but got "
                f"{weights!r}."
            )
        weights = IOU_WEIGHTS[weights][: len(bases)]
    lower = torch.tensor(bases, dtype=torch.float64)
    shares = torch.tensor(weights, dtype=torch.float64)
    if not (len(lower) and (lower > 0).all() and (lower < 1).all() and (lower.diff() > 0).all()):
        raise ValueError(f"Expected ascending IoUs in (0, 1) as bases, but got {tuple(bases)}.")
    if shares.shape != lower.shape or not (shares >= 0).all() or shares.sum() <= 0:
        raise ValueError(
            f"Expected one share of at least 0 for each of the {len(lower)} bases, but got "
            f"{tuple(weights)}."
        )
    upper = torch.cat([lower[1:], lower.new_tensor([max(HIGHEST_IOU, lower[-1].item())])])
    return shares, lower, upper
