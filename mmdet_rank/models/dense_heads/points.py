"""The ranking problem of heads that predict boxes as distances from points."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmdet.structures.bbox import distance2bbox
from torch import Tensor

from mmdet_rank.criteria.problem import BoxTask, RankingProblem, find_positives


def repeat_over_images(levels: Sequence[Tensor], num_images: int) -> Tensor:
    """Rows of the places of each level, (H * W, n), repeated for all images: (A, n).

    The order is that of `levels.flatten_maps`.
    """
    return torch.cat([level.repeat(num_images, 1) for level in levels])


def point_problem(
    logits: Tensor,
    outputs: Tensor,
    distances: Tensor,
    points: Tensor,
    labels: Tensor,
    targets: Tensor,
    target_distances: Tensor,
    *,
    decoded: bool = True,
) -> RankingProblem:
    """The ranking problem of a head on points, in any order, the same in all arguments.

    Args:
        logits: (A, C).
        outputs: (A, 4) what the branch put out: what the box loss is computed on when not
            ``decoded``.
        distances: (A, 4) predicted distances to left, top, right and bottom, pixels; computed
            from ``outputs``.
        points: (A, 2), pixels.
        labels: (A,), C for background.
        targets: (A, 4) targets of ``outputs``.
        target_distances: (A, 4) targets of ``distances``.
        decoded: Whether the box loss is computed on boxes, which are not cut at the image's edge.
    """
    positives = find_positives(labels, logits.shape[1])
    points = points[positives]
    boxes = distance2bbox(points, distances[positives])
    gt_boxes = distance2bbox(points, target_distances[positives])
    return RankingProblem(
        logits=logits,
        labels=labels,
        positives=positives,
        boxes=BoxTask(
            pred=boxes if decoded else outputs[positives],
            target=gt_boxes if decoded else targets[positives],
            boxes=boxes,
            gt_boxes=gt_boxes,
            centers=points,
            outputs=outputs,
        ),
    )


def decoded_problem(
    logits: Tensor,
    labels: Tensor,
    boxes: Tensor,
    gt_boxes: Tensor,
    centers: Tensor,
    outputs: Tensor,
    *,
    label_weights: Tensor | None = None,
) -> RankingProblem:
    """The ranking problem of a head whose boxes are decoded already, in any order.

    Args:
        logits: (A, C).
        labels: (A,), C for background.
        boxes: (A, 4) predicted, pixels.
        gt_boxes: (A, 4) of the objects that positives are assigned to.
        centers: (A, 2) of the priors.
        outputs: What the branch put out, of any shape; the boxes are computed from it.
        label_weights: (A,), 0 for priors that are ignored.
    """
    positives = find_positives(labels, logits.shape[1], label_weights)
    own_boxes, own_gt_boxes = boxes[positives], gt_boxes[positives]
    return RankingProblem(
        logits=logits,
        labels=labels,
        label_weights=label_weights,
        positives=positives,
        boxes=BoxTask(
            pred=own_boxes,
            target=own_gt_boxes,
            boxes=own_boxes,
            gt_boxes=own_gt_boxes,
            centers=centers[positives],
            outputs=outputs,
        ),
    )
