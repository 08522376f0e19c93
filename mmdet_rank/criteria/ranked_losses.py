"""Losses that a criterion hands back, with the ranking that other tasks of the head need."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mmdet_rank.losses.base import RankedLoss

from .problem import RankingProblem

if TYPE_CHECKING:
    from .ranking_criterion import RankingCriterion


class RankedLosses(dict[str, Tensor]):
    """Losses and figures of a head by name, with the ranking that its other tasks need.

    A problem is ranked once for all tasks of its positives. The object holds on to the graph: do
    not keep it beyond the iteration.

    Args:
        losses: The losses and figures.
        problem: The problem.
        ranked: Result of the ranking loss.
        criterion: The criterion, whose tasks weigh and balance.
        unit_errors: (P,) localisation errors that the loss has ranked (aLRP), else None.
    """

    def __init__(
        self,
        losses: dict[str, Tensor],
        problem: RankingProblem,
        ranked: RankedLoss,
        criterion: RankingCriterion,
        unit_errors: Tensor | None = None,
    ) -> None:
        super().__init__(losses)
        self.problem = problem
        self.ranked = ranked
        self.criterion = criterion
        self.unit_errors = unit_errors

    @property
    def positives(self) -> Tensor:
        """(P,) places of the positives among the priors, ascending."""
        return self.problem.positives

    @cached_property
    def weights(self) -> Tensor:
        """(P,) instance weights of the positives, detached; computed when first asked for."""
        loc = self.ranked.loc
        if loc is not None and loc.requires_grad:
            # aLRP's localisation part is linear in the errors: its gradient are its weights.
            return torch.autograd.grad(loc, self.unit_errors, retain_graph=True)[0]  # type: ignore[arg-type]
        return self.criterion.weights(self.problem)

    def box_loss_beside(self, errors: Tensor) -> Tensor:
        """Loss of other errors of the boxes (L1 beside IoU), weighed and balanced as theirs.

        To the loss of the boxes it has the ratio that the errors have.

        Args:
            errors: (P,) with their own loss weight in, as those of the box loss.
        """
        criterion = self.criterion
        mean = criterion.tasks["bbox"].mean(criterion.box_shares(errors), self.weights)
        return mean * self["balance_bbox"] * criterion.loss_weight

    def mask_losses(
        self,
        errors: Tensor,
        outputs: Tensor,
        loss_weight: float = 1.0,
        weights: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Loss of the positives' masks, predicted by another head, with a balance of its own.

        Args:
            errors: (n,) loss of each mask, ``loss_weight`` in it.
            outputs: The tensor that the errors were computed on.
            loss_weight: Weight of the mask loss.
            weights: (n,) instance weights of these masks, part of ``weights`` where only some
                masks are trained or their order is another. Default: ``weights``. Of aLRP Loss,
                whose weights are shares of a sum, those of a part stand for all.

        Returns:
            ``loss_mask`` and its factor ``balance_mask``.
        """
        criterion, task = self.criterion, self.criterion.tasks["mask"]
        if weights is None:
            weights = self.weights
        if not task.normalize and len(weights) < len(self.weights):
            smallest = torch.finfo(weights.dtype).tiny
            weights = weights * (self.weights.sum() / weights.sum().clamp(min=smallest))
        loss, factor = task(
            criterion.mask_shares(errors, loss_weight),
            weights,
            self.ranked.cls,
            self.problem.logits,
            outputs,
        )
        return dict(loss_mask=loss * criterion.loss_weight, balance_mask=factor)
