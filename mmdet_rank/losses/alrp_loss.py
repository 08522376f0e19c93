"""aLRP Loss as a registered module."""

from __future__ import annotations

import torch
from mmdet.registry import MODELS
from torch import Tensor

from mmdet_rank.evaluation.lrp import check_tau
from mmdet_rank.ops import average_lrp_loss

from .base import RankedLoss, RankingLoss


@MODELS.register_module()
class aLRPLoss(RankingLoss):
    """Average Localisation-Recall-Precision Loss (thesis 7.3): `ops.average_lrp_loss`.

    The localisation part ranks the positives itself, so that the criterion weighs no instances,
    and self-balances it by epoch (thesis 7.3.2).

    Args:
        delta: Half width of the smoothed step, in units of the logits.
        tau: IoU from which a prior is assigned as a positive, in [0, 1): the localisation error
            of a positive is ``(1 - IoU) / (1 - tau)``; losses of the GIoU family, which reach up
            to 2, are halved first. 0.5, and 0.7 for an RPN (thesis L.4).
        loss_weight: Factor of both parts.
        sync: Rank over the examples of all processes.
        use_sigmoid: Must be True; see `RankingLoss`.
    """

    unifies_localization = True
    default_instance_weight = "ranking"
    default_balance = "epoch"

    def __init__(
        self,
        delta: float = 1.0,
        tau: float = 0.5,
        loss_weight: float = 1.0,
        sync: bool = False,
        use_sigmoid: bool = True,
    ) -> None:
        super().__init__(delta, loss_weight, sync, use_sigmoid)
        check_tau(tau)
        self.tau = tau

    def rank(
        self,
        logits: Tensor,
        targets: Tensor | None = None,
        loc_errors: Tensor | None = None,
        *,
        positives: Tensor | None = None,
        labels: Tensor | None = None,
        ignored: Tensor | None = None,
    ) -> RankedLoss:
        """Loss of flat logits and one localisation error per positive; see `RankingLoss`.

        Args:
            logits: (N,).
            targets: (N,).
            loc_errors: (P,) losses in [0, 1] before the division by ``1 - tau``. Default: none
                (0), which makes this AP Loss without interpolation.
            positives: (P,) places of the positives, in place of targets.
            labels: Not used.
            ignored: (I,) places of the ignored.
        """
        if loc_errors is None:
            where = (targets > 0).nonzero() if targets is not None else positives
            number = 0 if where is None else len(where)
            loc_errors = logits.new_zeros(number, dtype=torch.float32)
        cls, loc = average_lrp_loss(
            logits,
            targets,
            loc_errors / (1 - self.tau),
            positives=positives,
            ignored=ignored,
            delta=self.delta,
            sync=self.sync,
        )
        return RankedLoss(cls * self.loss_weight, loc * self.loss_weight)
