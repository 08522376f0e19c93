"""Positives that a ranking box head hands to its mask head."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mmengine.structures import InstanceData
from torch import Tensor

from mmdet_rank.criteria import RankedLosses


class RankedPositives(list[InstanceData]):
    """Positives of each image, and the ranking that weighs and balances their masks.

    MMDetection's one-stage instance segmentors pass ``bbox_head.get_positive_infos()``, a list
    with one entry per image, on to ``mask_head.loss`` as it is. This is such a list.

    Args:
        positives: Of each image ``pos_assigned_gt_inds`` (n,), ``pos_inds`` (n,), ``coeffs``
            (n, protos), ``bboxes`` (n, 4) of the objects, and ``weights`` (n,), the importance
            of each mask, unless the ranking waits for the masks.
        ranked: Losses of the box head. Or, where its continuous labels come from the masks, a
            function that takes the (P,) Dice coefficients of all positives, image by image, and
            returns these losses and the (P,) weights of the masks in that order.
    """

    def __init__(
        self,
        positives: Iterable[InstanceData],
        ranked: RankedLosses | Callable[[Tensor], tuple[RankedLosses, Tensor]],
    ) -> None:
        super().__init__(positives)
        self.ranked = ranked
