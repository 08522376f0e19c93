"""AP Loss as a registered module."""

from __future__ import annotations

from mmdet.registry import MODELS
from torch import Tensor

from mmdet_rank.ops import average_precision_loss

from .base import RankedLoss, RankingLoss


@MODELS.register_module()
class APLoss(RankingLoss):
    """AP Loss (thesis 6.1): `mmdet_rank.ops.average_precision_loss`.

    Args:
        delta: Half width of the smoothed step, in units of the logits.
        loss_weight: Factor of the loss.
        interpolated: Whether precision is interpolated, as in the evaluation of AP.
        sync: Rank over the examples of all processes.
        use_sigmoid: Must be True; see `RankingLoss`.

    Example:
        >>> import torch
        >>> loss = APLoss()
        >>> logits = torch.tensor([[3.0, 0.0], [0.0, -3.0]], requires_grad=True)
        >>> loss(logits, torch.tensor([0, 2])).item()
        0.0
    """

    def __init__(
        self,
        delta: float = 1.0,
        loss_weight: float = 1.0,
        interpolated: bool = True,
        sync: bool = False,
        use_sigmoid: bool = True,
    ) -> None:
        super().__init__(delta, loss_weight, sync, use_sigmoid)
        self.interpolated = interpolated

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
        """Loss of flat logits; see `RankingLoss`. Labels and localisation errors are not used."""
        loss = average_precision_loss(
            logits,
            targets,
            positives=positives,
            ignored=ignored,
            delta=self.delta,
            interpolated=self.interpolated,
            sync=self.sync,
        )
        return RankedLoss(loss * self.loss_weight)
