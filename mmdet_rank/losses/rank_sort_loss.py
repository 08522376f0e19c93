"""RS Loss as a registered module."""

from __future__ import annotations

from mmdet.registry import MODELS
from torch import Tensor

from mmdet_rank.ops import rank_sort_loss

from .base import RankedLoss, RankingLoss


@MODELS.register_module()
class RankSortLoss(RankingLoss):
    """Rank & Sort Loss (thesis 8.3): `mmdet_rank.ops.rank_sort_loss`, ranking plus sorting.

    Args:
        delta: Half width of the smoothed step, in units of the logits. The paper's value, and
            the only number of the loss.
        loss_weight: Factor of the loss.
        sort: Whether to add the sorting error; without, the ranking error alone is trained.
        sync: Rank over the examples of all processes.
        use_sigmoid: Must be True; see `RankingLoss`.

    Example:
        >>> import torch
        >>> loss = RankSortLoss()
        >>> logits = torch.tensor([[3.0, 0.0], [0.0, -3.0]], requires_grad=True)
        >>> labels, ious = torch.tensor([0, 2]), torch.tensor([0.8, 0.0])
        >>> loss(logits, (labels, ious)).item()
        0.0
    """

    continuous_labels = True
    default_instance_weight = "score"
    default_balance = "value"

    def __init__(
        self,
        delta: float = 0.5,
        loss_weight: float = 1.0,
        sort: bool = True,
        sync: bool = False,
        use_sigmoid: bool = True,
    ) -> None:
        super().__init__(delta, loss_weight, sync, use_sigmoid)
        self.sort = sort

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
        """Loss of flat logits; see `RankingLoss`. Localisation errors are not used."""
        places = dict(positives=positives, labels=labels, ignored=ignored)
        ranking, sorting = rank_sort_loss(
            logits, targets, **places, delta=self.delta, sync=self.sync
        )
        cls = ranking + sorting if self.sort else ranking
        parts = {"ranking": ranking.detach(), "sorting": sorting.detach()}
        return RankedLoss(cls * self.loss_weight, parts=parts)
