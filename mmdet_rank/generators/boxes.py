"""The bounding box generator: boxes that overlap with a given one by a wanted IoU (thesis Alg. 1).

A box is drawn corner by corner. The first corner comes from the region in which it has at least
the wanted IoU while the other corner is still that of the reference; no other place could be mended
by the second corner. Then that one comes from its own region, given the first.

All of it happens in one frame, in which every reference is the unit square: IoU does not change
when both axes are scaled and shifted. A corner is given by its *offset* from the corner of the
reference, in units of the reference's width and height and positive towards the inside, so that the
two corners are mirror images, and drawing the bottom right one first is the same computation.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["corner_contour", "generate_boxes", "uniform_proposal"]

#: (low, high, generator) -> offsets in the rectangle between the two; (N, 2) each.
Proposal = Callable[[Tensor, Tensor, torch.Generator | None], Tensor]

# Half of all proposals hit a region at IoUs that detectors use, one in twenty at IoU 0.01.
_ROUNDS = 2000
# Rounding of a box's coordinates may take this many times their spacing off its IoU.
_ROUNDING = 16


def generate_boxes(
    boxes: Tensor,
    min_iou: float | Tensor,
    num: int = 1,
    generator: torch.Generator | None = None,
    *,
    proposal: Proposal | None = None,
) -> Tensor:
    """Draw boxes that have at least a given IoU with a reference (thesis Alg. 1, Appendix B).

    Either corner is drawn first, at random, so that no direction is preferred (4.3.1). Boxes may
    reach beyond the image. The draws depend on the generator alone, not on sizes and places.

    Args:
        boxes: (M, 4) references as x1, y1, x2, y2, any floating dtype and device, with an area.
        min_iou: Least IoU, a float or (M,) of any float dtype, in (0, 1).
        num: Boxes per reference, at least 0.
        generator: Source of randomness; torch's default one without it. It may be of another device
            than the boxes.
        proposal: Distribution of a corner (4.3.1.2): called with the lower and upper corners of the
            rectangle around its region, (N, 2) offsets each, and the generator, it returns (N, 2)
            offsets, of which those in the region are kept. Default: `uniform_proposal`.

    Returns:
        (M, num, 4), dtype and device of ``boxes``, without gradient.

    Raises:
        TypeError: If ``boxes`` is not a tensor of floats.
        ValueError: If a shape, an IoU or ``num`` is out of range, a box has no area, or proposals
            never hit a region.

    Example:
        >>> gen = torch.Generator().manual_seed(0)
        >>> drawn = generate_boxes(torch.tensor([[10.0, 20.0, 50.0, 40.0]]), 0.7, 5, gen)
        >>> drawn.shape
        torch.Size([1, 5, 4])
        >>> inner = torch.minimum(drawn[..., 2:], torch.tensor([50.0, 40.0]))
        >>> inner = (inner - torch.maximum(drawn[..., :2], torch.tensor([10.0, 20.0]))).prod(-1)
        >>> (inner / ((drawn[..., 2:] - drawn[..., :2]).prod(-1) + 800 - inner) >= 0.7).all()
        tensor(True)
    """
    iou = _checked(boxes, min_iou, num)
    device = boxes.device if generator is None else generator.device
    proposal = proposal or uniform_proposal
    reference = boxes.detach().to(device, iou.dtype).repeat_interleave(num, dim=0)
    iou = _above_rounding(boxes, iou).to(device).repeat_interleave(num)

    first = _draw_first(iou, proposal, generator)
    second = _draw_second(first, iou, proposal, generator)
    top_left_first = torch.rand(len(iou), device=device, generator=generator) < 0.5
    top_left = torch.where(top_left_first[:, None], first, second)
    bottom_right = torch.where(top_left_first[:, None], second, first)
    size = reference[:, 2:] - reference[:, :2]
    drawn = torch.cat(
        [reference[:, :2] + top_left * size, reference[:, 2:] - bottom_right * size], dim=1
    )
    return drawn.to(boxes).view(len(boxes), num, 4)


def uniform_proposal(low: Tensor, high: Tensor, generator: torch.Generator | None) -> Tensor:
    """Offsets spread evenly over the rectangle from ``low`` to ``high``, (N, 2) each.

    Example:
        >>> gen = torch.Generator().manual_seed(0)
        >>> uniform_proposal(torch.zeros(1, 2), torch.ones(1, 2), gen).shape
        torch.Size([1, 2])
    """
    draws = torch.rand(low.shape, dtype=low.dtype, device=low.device, generator=generator)
    return low + draws * (high - low)


def corner_contour(min_iou: float, num: int = 64) -> Tensor:
    """Border of the first corner's region (thesis Table B.1, Fig. 4.2, 4.4 and 4.6).

    Args:
        min_iou: IoU ``T`` in (0, 1).
        num: Points of each of the four parts, at least 2.

    Returns:
        (4 * num, 2) float64 offsets from the reference's corner, in its width and height and
        positive towards the inside, around the region. Row II of the table has a misprint and is
        ``x = x2 - T A / (y2 - y)``.

    Example:
        >>> corner_contour(0.5, 2).T
        tensor([[ 0.0000,  0.5000,  0.5000,  0.0000,  0.0000, -1.0000, -1.0000,  0.0000],
                [-1.0000,  0.0000,  0.0000,  0.5000,  0.5000,  0.0000,  0.0000, -1.0000]],
               dtype=torch.float64)
    """
    if not 0 < min_iou < 1:
        raise ValueError(f"Expected an IoU in (0, 1), but got {min_iou}.")
    inside = torch.linspace(0, 1 - min_iou, num, dtype=torch.float64)
    outside = torch.linspace(0, 1 - 1 / min_iou, num, dtype=torch.float64)
    # For a point inside along one axis and outside along the other: I / T = A + area - I.
    beyond = 1 - ((1 - inside) * (1 / min_iou + 1) - 1) / (1 - inside)
    both_inside = 1 - min_iou / (1 - inside)
    both_outside = 1 - 1 / (min_iou * (1 - outside))
    parts = (
        (inside, beyond),  # I
        (inside.flip(0), both_inside.flip(0)),  # II
        (beyond.flip(0), inside.flip(0)),  # III
        (outside.flip(0), both_outside.flip(0)),  # IV
    )
    return torch.cat([torch.stack(part, dim=1) for part in parts])


def _draw_first(iou: Tensor, proposal: Proposal, generator: torch.Generator | None) -> Tensor:
    low = (1 - 1 / iou)[:, None].expand(-1, 2)
    high = (1 - iou)[:, None].expand(-1, 2)

    def hits(points: Tensor, rows: Tensor) -> Tensor:
        return _iou_with_unit_square(points, torch.zeros_like(points)) >= iou[rows]

    drawn, missed = _draw(low, high, hits, proposal, generator)
    if len(missed):
        raise ValueError(
            f"Expected proposals that hit the region of the wanted IoU, but {len(missed)} of "
            f"{len(iou)} boxes had none in {_ROUNDS} draws; make the proposal wider."
        )
    return drawn


def _draw_second(
    first: Tensor, iou: Tensor, proposal: Proposal, generator: torch.Generator | None
) -> Tensor:
    # Thesis Table B.2, in offsets: how far a corner may go along one axis is reached at the other
    # axis's own border of the reference.
    step = first.clamp(min=0)
    across, step_across = first.flip(1), step.flip(1)
    t = iou[:, None]
    overlap = (1 - step) * (1 - step_across)
    farthest = first + (overlap * (1 + t) / t - 1) / (1 - across)
    nearest = t + step * (1 + t) * (1 - step_across) - t * first * (1 - across)
    nearest = nearest / ((1 + t) * (1 - step_across) - t * (1 - across))

    def hits(points: Tensor, rows: Tensor) -> Tensor:
        return _iou_with_unit_square(first[rows], points) >= iou[rows]

    # A first corner on the border leaves the reference's own corner as the only place.
    drawn, _ = _draw(1 - farthest, 1 - nearest, hits, proposal, generator)
    return drawn


def _draw(
    low: Tensor,
    high: Tensor,
    hits: Callable[[Tensor, Tensor], Tensor],
    proposal: Proposal,
    generator: torch.Generator | None,
) -> tuple[Tensor, Tensor]:
    """Rejection sampling: points, 0 where none has hit, and the rows of those."""
    drawn = torch.zeros_like(low)
    rows = torch.arange(len(low), device=low.device)
    for _ in range(_ROUNDS):
        if not len(rows):
            break
        points = proposal(low[rows], high[rows], generator)
        hit = hits(points, rows)
        drawn[rows[hit]] = points[hit]
        rows = rows[~hit]
    return drawn, rows


def _iou_with_unit_square(one: Tensor, other: Tensor) -> Tensor:
    """IoU of the unit square and boxes given by the offsets of opposite corners, (N, 2) each."""
    overlap = (1 - one.clamp(min=0) - other.clamp(min=0)).clamp(min=0).prod(1)
    return overlap / (1 + (1 - one - other).prod(1) - overlap)


def _above_rounding(boxes: Tensor, iou: Tensor) -> Tensor:
    """The least IoU, and what the rounding of the coordinates to their dtype may take off it."""
    size = (boxes[:, 2:] - boxes[:, :2]).amin(1).to(iou)
    spacing = torch.finfo(boxes.dtype).eps * boxes.abs().amax(1).to(iou)
    return torch.minimum(iou + _ROUNDING * spacing / size, (1 + iou) / 2)


def _checked(boxes: Tensor, min_iou: float | Tensor, num: int) -> Tensor:
    """IoU of each box as a wide float."""
    if not isinstance(boxes, Tensor) or not boxes.is_floating_point():
        kind = boxes.dtype if isinstance(boxes, Tensor) else type(boxes).__name__
        raise TypeError(f"Expected boxes as a tensor of floats, but got {kind}; use .float().")
    if boxes.dim() != 2 or boxes.shape[1] != 4:
        raise ValueError(f"Expected boxes of shape (M, 4), but got {tuple(boxes.shape)}.")
    if num < 0:
        raise ValueError(f"Expected num >= 0, but got {num}.")
    if not (boxes[:, 2:] > boxes[:, :2]).all():
        raise ValueError(
            "Expected boxes x1, y1, x2, y2 with x1 < x2 and y1 < y2, but got one without an area; "
            "leave it out."
        )
    # No float64 on Apple's devices.
    dtype = torch.float32 if boxes.device.type == "mps" else torch.float64
    iou = torch.as_tensor(min_iou, dtype=dtype, device=boxes.device)
    if iou.dim() > 1 or (iou.dim() == 1 and len(iou) != len(boxes)):
        raise ValueError(
            f"Expected min_iou as one number or of shape ({len(boxes)},), but got "
            f"{tuple(iou.shape)}."
        )
    if not ((iou > 0) & (iou < 1)).all():
        raise ValueError(
            f"Expected min_iou in (0, 1), but got {iou.tolist() if iou.dim() == 0 else 'others'}; "
            "0.5 is the usual threshold of a positive."
        )
    return iou.expand(len(boxes))
