"""From MMDetection's lists over levels to one flat ranking problem."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmdet.models.dense_heads import AnchorHead
from mmdet.models.task_modules.coders.base_bbox_coder import BaseBBoxCoder
from mmdet.models.utils import images_to_levels
from mmdet.structures.bbox import cat_boxes, get_box_tensor
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet_rank.criteria.problem import BoxTask, RankingProblem, find_positives


def flatten_maps(maps: Sequence[Tensor], channels: int) -> Tensor:
    """Maps of all levels as rows: level by level, then image, place and prior.

    The order is that of MMDetection's targets when the lists over levels are concatenated.

    Args:
        maps: Per level (B, priors * channels, H, W).
        channels: Channels per prior.

    Returns:
        (A, channels).
    """
    return _FlattenedMaps.apply(channels, *maps)


class _FlattenedMaps(torch.autograd.Function):
    """Copies each map once, to where it belongs; a reshape and a concatenation copy twice."""

    @staticmethod
    def forward(ctx, channels: int, *maps: Tensor) -> Tensor:
        ctx.shapes = [level.permute(0, 2, 3, 1).shape for level in maps]
        ctx.sizes = [level.numel() // channels for level in maps]
        rows = maps[0].new_empty(sum(ctx.sizes), channels)
        for level, shape, part in zip(maps, ctx.shapes, rows.split(ctx.sizes), strict=True):
            part.view(shape).copy_(level.permute(0, 2, 3, 1))
        return rows

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        parts = zip(gradient.split(ctx.sizes), ctx.shapes, strict=True)
        return None, *(part.reshape(shape).permute(0, 3, 1, 2) for part, shape in parts)


def flatten_targets(targets: Sequence[Tensor]) -> Tensor:
    """Targets of all levels, (B, priors, ...) each, as rows (A, ...)."""
    return torch.cat([level.reshape(-1, *level.shape[2:]) for level in targets])


def anchor_problem(
    cls_scores: Sequence[Tensor],
    bbox_preds: Sequence[Tensor],
    anchors: Sequence[Tensor],
    labels: Sequence[Tensor],
    label_weights: Sequence[Tensor],
    bbox_targets: Sequence[Tensor],
    *,
    num_classes: int,
    bbox_coder: BaseBBoxCoder,
    decoded: bool,
) -> RankingProblem:
    """The ranking problem of a head on anchors.

    Args:
        cls_scores: Per level (B, priors * num_classes, H, W) logits.
        bbox_preds: Per level (B, priors * 4, H, W).
        anchors: Per level (B, H * W * priors, 4), pixels.
        labels: Per level (B, H * W * priors), ``num_classes`` for background.
        label_weights: Per level, of the same shape; 0 for anchors that are ignored.
        bbox_targets: Per level (B, H * W * priors, 4): boxes when ``decoded``, else deltas.
        num_classes: Number of classes.
        bbox_coder: The head's.
        decoded: Whether the box loss is computed on decoded boxes.
    """
    return flat_anchor_problem(
        flatten_maps(cls_scores, num_classes),
        flatten_maps(bbox_preds, 4),
        flatten_targets(anchors),
        flatten_targets(labels),
        flatten_targets(label_weights),
        flatten_targets(bbox_targets),
        bbox_coder=bbox_coder,
        decoded=decoded,
    )


def flat_anchor_problem(
    logits: Tensor,
    outputs: Tensor,
    anchors: Tensor,
    labels: Tensor,
    label_weights: Tensor,
    bbox_targets: Tensor,
    *,
    bbox_coder: BaseBBoxCoder,
    decoded: bool,
) -> RankingProblem:
    """The ranking problem of anchors in any order, the same in all arguments.

    Args:
        logits: (A, C).
        outputs: (A, 4) of the box branch.
        anchors: (A, 4), pixels.
        labels: (A,), C for background.
        label_weights: (A,), 0 for anchors that are ignored.
        bbox_targets: (A, 4): boxes when ``decoded``, else deltas.
        bbox_coder: The head's.
        decoded: Whether the box loss is computed on decoded boxes.
    """
    positives = find_positives(labels, logits.shape[1], label_weights)
    outputs, anchors, targets = outputs[positives], anchors[positives], bbox_targets[positives]
    boxes = get_box_tensor(bbox_coder.decode(anchors, outputs.float()))
    gt_boxes = targets if decoded else get_box_tensor(bbox_coder.decode(anchors, targets))
    return RankingProblem(
        logits=logits,
        labels=labels,
        label_weights=label_weights,
        positives=positives,
        boxes=BoxTask(
            pred=boxes if decoded else outputs,
            target=targets,
            boxes=boxes,
            gt_boxes=gt_boxes,
            centers=(anchors[:, :2] + anchors[:, 2:]) / 2,
            outputs=outputs,
        ),
    )


def anchor_head_problem(
    head: AnchorHead,
    cls_scores: Sequence[Tensor],
    bbox_preds: Sequence[Tensor],
    batch_gt_instances: Sequence[InstanceData],
    batch_img_metas: Sequence[dict],
    batch_gt_instances_ignore: Sequence[InstanceData] | None = None,
) -> RankingProblem:
    """The ranking problem of a head that assigns as MMDetection's AnchorHead does.

    Args:
        head: The head; its ``get_anchors`` and ``get_targets`` are called.
        cls_scores: Per level (B, priors * num_classes, H, W) logits.
        bbox_preds: Per level (B, priors * 4, H, W).
        batch_gt_instances: Objects of each image.
        batch_img_metas: Meta information of each image.
        batch_gt_instances_ignore: Ignored regions of each image.
    """
    sizes = [level.shape[-2:] for level in cls_scores]
    anchors, flags = head.get_anchors(sizes, batch_img_metas, device=cls_scores[0].device)
    labels, label_weights, bbox_targets, _, _ = head.get_targets(
        anchors, flags, batch_gt_instances, batch_img_metas, batch_gt_instances_ignore
    )
    per_level = images_to_levels(
        [cat_boxes(of_image) for of_image in anchors], [len(level) for level in anchors[0]]
    )
    return anchor_problem(
        cls_scores,
        bbox_preds,
        per_level,
        labels,
        label_weights,
        bbox_targets,
        num_classes=head.num_classes,
        bbox_coder=head.bbox_coder,
        decoded=head.reg_decoded_bbox,
    )
