"""The mask losses of one stage, for RoI heads whose box head ranks."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from mmdet.models.task_modules.samplers import SamplingResult
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor, nn

from .rank_mask_head import RankFCNMaskHead

#: In training no more masks than these are predicted per process, as in the published models.
MAX_MASKS = 200


def prepare_box_head(bbox_head: nn.Module, roi_head: nn.Module) -> None:
    """Let a box head keep what the masks of its stage need to know.

    Raises:
        TypeError: If the box head does not rank.
    """
    if not hasattr(bbox_head, "take_ranked"):
        raise TypeError(
            f"Expected RankShared2FCBBoxHead in {type(roi_head).__name__}, but got "
            f"{type(bbox_head).__name__}; use MMDetection's own RoI head for that box head."
        )
    if roi_head.with_mask:
        bbox_head.keep_ranked()


def ranked_mask_loss(
    bbox_head: nn.Module,
    mask_head: nn.Module,
    forward: Callable[[list[SamplingResult], Tensor], dict],
    sampling_results: list[SamplingResult],
    batch_gt_instances: list[InstanceData],
    train_cfg: ConfigDict,
    max_masks: int | None,
) -> dict[str, Tensor | dict]:
    """Predict the masks of the positive RoIs and compute their losses.

    Args:
        bbox_head: The stage's box head; its loss was computed already.
        mask_head: The stage's mask head.
        forward: Predicts the masks (``mask_preds`` in a dict) of the positives that are kept, from
            their sampling results and their places among all RoIs.
        sampling_results: Of each image.
        batch_gt_instances: Objects of each image, with masks.
        train_cfg: Training config of the stage.
        max_masks: How many positives are kept at most, by random choice; None for all.

    Returns:
        What ``forward`` and ``mask_head.loss_and_target`` return.
    """
    ranked = bbox_head.take_ranked()
    kept, chosen = keep_some(sampling_results, max_masks)
    results = forward(kept, ranked.positives if chosen is None else ranked.positives[chosen])
    options = dict(ranked=ranked, chosen=chosen) if isinstance(mask_head, RankFCNMaskHead) else {}
    results.update(
        mask_head.loss_and_target(
            mask_preds=results["mask_preds"],
            sampling_results=kept,
            batch_gt_instances=batch_gt_instances,
            rcnn_train_cfg=train_cfg,
            **options,
        )
    )
    return results


def keep_some(
    sampling_results: Sequence[SamplingResult], limit: int | None
) -> tuple[list[SamplingResult], Tensor | None]:
    """A random choice of the positive RoIs of a batch, by torch's default generator.

    Args:
        sampling_results: Of each image.
        limit: How many to keep at most; None for all.

    Returns:
        The sampling results with those positives alone (their negatives are untouched), and the
        places of these among all positives, ascending; None when all are kept.
    """
    counts = [len(result.pos_priors) for result in sampling_results]
    if limit is None or sum(counts) <= limit:
        return list(sampling_results), None
    chosen = torch.randperm(sum(counts))[:limit].sort().values
    device = sampling_results[0].pos_inds.device
    kept, start = [], 0
    for result, count in zip(sampling_results, counts, strict=True):
        own = chosen[(chosen >= start) & (chosen < start + count)] - start
        kept.append(_with_positives(result, own.to(device)))
        start += count
    return kept, chosen.to(device)


def _with_positives(result: SamplingResult, kept: Tensor) -> SamplingResult:
    result = copy.copy(result)
    result.num_pos = max(len(kept), 1)
    for name in (
        "pos_inds",
        "pos_priors",
        "pos_is_gt",
        "pos_assigned_gt_inds",
        "pos_gt_labels",
        "pos_gt_bboxes",
    ):
        setattr(result, name, getattr(result, name)[kept])
    return result
