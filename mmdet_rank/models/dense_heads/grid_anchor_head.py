"""The part that heads on a grid of anchors share: assignment that asks for the levels."""

from __future__ import annotations

from typing import Any

import torch
from mmdet.models.task_modules.assigners import ATSSAssigner
from mmdet.models.task_modules.prior_generators import anchor_inside_flags
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet_rank.models.ranking_head import RankingAnchorHead
from mmdet_rank.models.task_modules import PerLevelAssigner


class RankingGridAnchorHead(RankingAnchorHead):
    """A ranking head that assigns as MMDetection's AnchorHead does, by IoU or by ATSS.

    It stands before a subclass of `AnchorHead` among the bases of a class. ``train_cfg.assigner``
    may also be MMDetection's ``ATSSAssigner``.

    Args:
        *args: As for MMDetection's head.
        **kwargs: As for MMDetection's head and `RankingAnchorHead`.
    """

    train_cfg: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if isinstance(getattr(self, "assigner", None), ATSSAssigner):
            self.assigner = PerLevelAssigner(self.assigner)
        self._num_level_anchors: list[int] = []

    def get_targets(self, anchor_list: list, valid_flag_list: list, *args, **kwargs) -> tuple:
        """See `AnchorHead.get_targets`; notes the levels for ATSS assignment."""
        self._num_level_anchors = [len(anchors) for anchors in anchor_list[0]]
        return super().get_targets(  # type: ignore[misc]  # a mix-in
            anchor_list, valid_flag_list, *args, **kwargs
        )

    def _get_targets_single(
        self,
        flat_anchors: Tensor,
        valid_flags: Tensor,
        gt_instances: InstanceData,
        img_meta: dict,
        *args,
        **kwargs,
    ) -> tuple:
        if isinstance(self.assigner, PerLevelAssigner):
            inside = anchor_inside_flags(
                flat_anchors,
                valid_flags,
                img_meta["img_shape"][:2],
                self.train_cfg["allowed_border"],
            )
            counts = [level.sum() for level in inside.split(self._num_level_anchors)]
            # The host waits once, not for each level.
            self.assigner.num_level_priors = torch.stack(counts).tolist()
        return super()._get_targets_single(  # type: ignore[misc]  # a mix-in
            flat_anchors, valid_flags, gt_instances, img_meta, *args, **kwargs
        )
