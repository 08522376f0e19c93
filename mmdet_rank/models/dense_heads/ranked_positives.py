"""Positives that a ranking box head hands to its mask head."""

from __future__ import annotations

from collections.abc import Iterable

from mmengine.structures import InstanceData

from mmdet_rank.criteria import RankedLosses


class RankedPositives(list[InstanceData]):
    """Positives of each image, and the ranking that weighs and balances their masks.

    MMDetection's one-stage instance segmentors pass ``bbox_head.get_positive_infos()``, a list
    with one entry per image, on to ``mask_head.loss`` as it is. This is such a list.

    Args:
        positives: Of each image ``pos_assigned_gt_inds`` (n,), ``pos_inds`` (n,), ``coeffs``
            (n, protos), ``bboxes`` (n, 4) of the objects, and ``weights`` (n,), the importance
            of each mask.
        ranked: Losses of the box head.
    """

    def __init__(self, positives: Iterable[InstanceData], ranked: RankedLosses) -> None:
        super().__init__(positives)
        self.ranked = ranked
