"""Faster and Mask R-CNN's second stage without sampling."""

from __future__ import annotations

from mmdet.models.roi_heads import StandardRoIHead
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox2roi
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet_rank.models.task_modules.every_proposal_sampler import without_sampler

from .ranked_masks import MAX_MASKS, prepare_box_head, ranked_mask_loss


@MODELS.register_module()
class RankStandardRoIHead(StandardRoIHead):
    """StandardRoIHead for `RankShared2FCBBoxHead` and `RankFCNMaskHead` (thesis 8.5.1.1).

    Unless ``train_cfg`` names a sampler, every proposal is ranked, and the objects' boxes with
    them. The RoIs of all images are one ranking problem.

    Args:
        max_masks: How many masks are trained at most per process and iteration, a random choice
            of the positive RoIs; None for all.
        **kwargs: As for `StandardRoIHead`.

    Raises:
        TypeError: If the box head does not rank.
    """

    def __init__(self, *args, max_masks: int | None = MAX_MASKS, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.max_masks = max_masks
        prepare_box_head(self.bbox_head, self)

    def init_assigner_sampler(self) -> None:
        """See `StandardRoIHead`; without a sampler in the config, everything is taken."""
        if self.train_cfg:
            self.train_cfg = without_sampler(self.train_cfg)
        super().init_assigner_sampler()

    def mask_loss(
        self,
        x: tuple[Tensor],
        sampling_results: list[SamplingResult],
        bbox_feats: Tensor,
        batch_gt_instances: list[InstanceData],
    ) -> dict:
        """Predict masks and compute their losses; see `StandardRoIHead.mask_loss`."""

        def forward(kept: list[SamplingResult], places: Tensor) -> dict:
            if self.share_roi_extractor:
                return self._mask_forward(x, pos_inds=places, bbox_feats=bbox_feats)
            return self._mask_forward(x, bbox2roi([result.pos_priors for result in kept]))

        return ranked_mask_loss(
            self.bbox_head,
            self.mask_head,
            forward,
            sampling_results,
            batch_gt_instances,
            self.train_cfg,
            self.max_masks,
        )
