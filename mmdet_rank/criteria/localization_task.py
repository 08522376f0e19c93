"""One localisation loss (boxes, masks) beside a ranking loss: weighed mean, then balance."""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor, nn

from mmdet_rank.ops.distributed import world_size

from .balance import build_balance
from .localization import weighted_mean


class LocalizationTask(nn.Module):
    """Weighs the errors of single positives and balances the result against the ranking loss.

    Args:
        balance: Name of a balance, or a dict of its type and options.
        sync: Normalise the weights over all processes.
        normalize: Divide by the sum of the weights; without it they are the shares themselves.
    """

    def __init__(
        self, balance: str | dict = "value", sync: bool = False, normalize: bool = True
    ) -> None:
        super().__init__()
        self.sync = sync
        self.normalize = normalize
        self.balance = build_balance(balance, sync)

    def forward(
        self,
        errors: Tensor,
        weights: Tensor,
        cls_loss: Tensor,
        logits: Tensor,
        outputs: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Loss of the task (thesis Eq. 8.11), balanced.

        Args:
            errors: (P,) loss of each positive.
            weights: (P,) importance of each; detached here.
            cls_loss: Scalar ranking loss.
            logits: What the ranking loss was computed on.
            outputs: What the errors were computed on. Default: ``errors``.

        Returns:
            The loss, and the balance's factor (detached) for the log.
        """
        loss = self.mean(errors, weights)
        return self.balanced(loss, cls_loss, logits, errors if outputs is None else outputs)

    def mean(self, errors: Tensor, weights: Tensor) -> Tensor:
        """Weighed mean of the errors (thesis Eq. 8.11), or their weighed sum, not balanced."""
        weights = weights.detach().to(errors.dtype)
        if not self.normalize:
            return (errors * weights).sum()
        total = weights.sum()
        if self.sync and world_size() > 1:
            # The mean over the processes, which gradients are averaged by, is the batch's mean.
            dist.all_reduce(total)
            total = total / world_size()
        return weighted_mean(errors, weights, total)

    def balanced(
        self, loss: Tensor, cls_loss: Tensor, logits: Tensor, outputs: Tensor
    ) -> tuple[Tensor, Tensor]:
        """A loss that is a scalar already, balanced; and the factor."""
        factor = self.balance(cls_loss, loss, logits, outputs)
        return loss * factor, factor
