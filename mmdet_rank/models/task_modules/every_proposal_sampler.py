"""The absence of sampling in an R-CNN."""

from __future__ import annotations

from mmdet.models.task_modules.assigners import AssignResult
from mmdet.models.task_modules.samplers import BaseSampler
from mmdet.registry import TASK_UTILS
from torch import Tensor

from .sampler_options import refuse_unknown_options


@TASK_UTILS.register_module()
class EveryProposalSampler(BaseSampler):
    """Takes every proposal, and the boxes of the objects (thesis 8.5.1.1).

    MMDetection's PseudoSampler takes every proposal too, but adds no objects; without them an
    R-CNN has few positives or none at all while its proposals are still bad.

    Args:
        add_gt_as_proposals: Whether to add the objects' boxes.
        **kwargs: What MMDetection and its base configs give samplers (``context``, ``num``,
            ``pos_fraction``, ``neg_pos_ub``), not used.

    Raises:
        TypeError: If another option is given.
    """

    def __init__(self, add_gt_as_proposals: bool = True, **kwargs) -> None:
        refuse_unknown_options(EveryProposalSampler, kwargs)
        super().__init__(num=0, pos_fraction=0, add_gt_as_proposals=add_gt_as_proposals)

    def _sample_pos(self, assign_result: AssignResult, num_expected: int, **kwargs) -> Tensor:
        return (assign_result.gt_inds > 0).nonzero().squeeze(1)

    def _sample_neg(self, assign_result: AssignResult, num_expected: int, **kwargs) -> Tensor:
        return (assign_result.gt_inds == 0).nonzero().squeeze(1)


def without_sampler(train_cfg: dict) -> dict:
    """An R-CNN's training config in which a missing sampler, or None, is `EveryProposalSampler`.

    Args:
        train_cfg: Of one stage; it is not changed.
    """
    if train_cfg.get("sampler") is not None:
        return train_cfg
    return type(train_cfg)(train_cfg, sampler=dict(type="EveryProposalSampler"))
