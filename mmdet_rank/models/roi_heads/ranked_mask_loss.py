"""The mask losses of one stage, for RoI heads whose box head ranks."""

from __future__ import annotations

from collections.abc import Callable

from mmdet.models.task_modules.samplers import SamplingResult
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor, nn

from .rank_mask_head import RankFCNMaskHead
from .ranked_rois import RankedRoIs, keep_some

#: In training no more masks than these are predicted per process, as in the published models.
MAX_MASKS = 200


def prepare_box_head(bbox_head: nn.Module, roi_head: nn.Module) -> None:
    """Let a box head keep what its stage's masks need to know.

    Raises:
        TypeError: If the box head does not rank.
    """
    if not hasattr(bbox_head, "take_ranked"):
        raise TypeError(
            f"Expected RankShared2FCBBoxHead in {type(roi_head).__name__}, but got "
            f"{type(bbox_head).__name__}; use MMDetection's own RoI head for that box head."
        )
    bbox_head.keep_ranked = roi_head.with_mask


def ranked_mask_loss(
    bbox_head: nn.Module,
    mask_head: nn.Module,
    forward: Callable[[list[SamplingResult], RankedRoIs], dict],
    sampling_results: list[SamplingResult],
    batch_gt_instances: list[InstanceData],
    train_cfg: ConfigDict,
    max_masks: int | None,
) -> dict[str, Tensor | dict]:
    """Predict the masks of the positive RoIs and compute their losses.

    Args:
        bbox_head: The stage's box head; its loss was computed already.
        mask_head: The stage's mask head.
        forward: Predicts the masks (``mask_preds`` in a dict) of the positives that are kept.
        sampling_results: Of each image.
        batch_gt_instances: Objects of each image, with masks.
        train_cfg: Training config of the stage.
        max_masks: How many positives are kept at most, by random choice; None for all.

    Returns:
        What ``forward`` and ``mask_head.loss_and_target`` return.
    """
    kept, ranked = keep_some(sampling_results, bbox_head.take_ranked(), max_masks)
    results = forward(kept, ranked)
    options = dict(ranked=ranked) if isinstance(mask_head, RankFCNMaskHead) else {}
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
