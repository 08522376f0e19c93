"""Random sampling in which every class has the same chance to be among the positives."""

from __future__ import annotations

from mmdet.models.task_modules.assigners import AssignResult
from mmdet.models.task_modules.samplers import RandomSampler
from mmdet.registry import TASK_UTILS
from torch import Tensor

from mmdet_rank.generators import sample_foreground_balanced

from .sampler_options import COMMON, refuse_unknown_options


@TASK_UTILS.register_module()
class OnlineForegroundBalancedSampler(RandomSampler):
    """RandomSampler with online foreground balanced (OFB) positives (thesis 4.6.1).

    Each of the ``k_c`` positives of class c among the C classes of an image has probability
    ``1 / (C k_c)``; they are drawn without replacement, and all are taken when there are no more
    than wanted. Negatives are drawn evenly. With hard negatives (thesis Table 4.3, OFB/H)::

        sampler=dict(
            type="CombinedSampler", num=512, pos_fraction=0.25, add_gt_as_proposals=True,
            pos_sampler=dict(type="OnlineForegroundBalancedSampler"),
            neg_sampler=dict(type="OHEMSampler"),
        )

    Args:
        *args: As for `RandomSampler`: ``num``, ``pos_fraction``, ``neg_pos_ub``,
            ``add_gt_as_proposals``.
        **kwargs: Likewise.

    Raises:
        TypeError: If another option is given.
    """

    def __init__(self, *args, **kwargs) -> None:
        refuse_unknown_options(OnlineForegroundBalancedSampler, kwargs, (*COMMON, "rng"))
        super().__init__(*args, **kwargs)

    def _sample_pos(self, assign_result: AssignResult, num_expected: int, **kwargs) -> Tensor:
        positives = (assign_result.gt_inds > 0).nonzero().squeeze(1)
        return positives[sample_foreground_balanced(assign_result.labels[positives], num_expected)]
