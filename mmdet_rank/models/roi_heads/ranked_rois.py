"""What a mask head needs to know of the classification of its stage."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from mmdet.models.task_modules.samplers import SamplingResult
from torch import Tensor


@dataclass(frozen=True)
class RankedRoIs:
    """The positive RoIs of a stage, as its box head ranked them.

    Attributes:
        positives: (P,) their places among all RoIs of the batch, ascending.
        weights: (P,) instance weights, detached.
        cls_loss: Scalar classification loss of the stage.
        logits: (A, C) logits that it was computed on.
    """

    positives: Tensor
    weights: Tensor
    cls_loss: Tensor
    logits: Tensor


def keep_some(
    sampling_results: Sequence[SamplingResult], ranked: RankedRoIs, limit: int | None
) -> tuple[list[SamplingResult], RankedRoIs]:
    """A random choice of the positive RoIs of a batch, by torch's default generator.

    Args:
        sampling_results: Of each image.
        ranked: What the box head knows of their positives, in the same order.
        limit: How many to keep at most; None for all.

    Returns:
        The sampling results with those positives alone (their negatives are untouched), and what
        is known of these.
    """
    counts = [len(result.pos_priors) for result in sampling_results]
    if limit is None or sum(counts) <= limit:
        return list(sampling_results), ranked
    chosen = torch.randperm(sum(counts))[:limit].sort().values
    kept, start = [], 0
    for result, count in zip(sampling_results, counts, strict=True):
        own = chosen[(chosen >= start) & (chosen < start + count)] - start
        kept.append(_with_positives(result, own.to(result.pos_inds.device)))
        start += count
    chosen = chosen.to(ranked.positives.device)
    return kept, replace(ranked, positives=ranked.positives[chosen], weights=ranked.weights[chosen])


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
