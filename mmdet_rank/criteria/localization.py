"""Localisation losses of single positives, and one task (boxes, masks) beside a ranking loss."""

from __future__ import annotations

import torch
import torch.distributed as dist
from mmdet.models.losses import CIoULoss, DIoULoss, EIoULoss, GIoULoss, IoULoss, SIoULoss
from torch import Tensor, nn

from mmdet_rank.losses.complete_iou_loss import CompleteIoULoss
from mmdet_rank.ops.distributed import world_size

from .balance import build_balance

#: Box losses that reach up to 2 (or a little beyond, by their penalties), by class.
_UP_TO_TWO = (GIoULoss, DIoULoss, CIoULoss, CompleteIoULoss, EIoULoss, SIoULoss)


def box_errors(loss_bbox: nn.Module, pred: Tensor, target: Tensor) -> Tensor:
    """Loss of each box, not reduced: (P,).

    Losses with one value per coordinate (L1, smooth L1) are averaged over the four. A loss's own
    ``loss_weight`` is in.
    """
    if not len(pred):
        # IoUs of no boxes come without a graph; the box branch must stay in it.
        return pred.float().sum(dim=1)
    errors = loss_bbox(pred.float(), target.float(), reduction_override="none")
    return errors.mean(dim=1) if errors.dim() == 2 else errors


def unit_box_errors(loss_bbox: nn.Module, errors: Tensor) -> Tensor:
    """Box errors with the range [0, 1] that aLRP Loss asks for (thesis Eq. 7.3), no weight in.

    Raises:
        ValueError: If the loss is not of the IoU family.
    """
    errors = errors / loss_bbox.loss_weight
    if isinstance(loss_bbox, _UP_TO_TWO):
        return errors / 2
    if isinstance(loss_bbox, IoULoss) and loss_bbox.mode == "linear":
        return errors
    raise ValueError(
        "Expected loss_bbox GIoULoss, DIoULoss, CIoULoss, EIoULoss, SIoULoss or "
        f"IoULoss(mode='linear') with aLRPLoss, but got {type(loss_bbox).__name__}: aLRP Loss "
        "unites ranks with localisation errors in [0, 1]."
    )


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
        outputs: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Loss of the task (thesis Eq. 8.11), balanced.

        Args:
            errors: (P,) loss of each positive.
            weights: (P,) importance of each; detached here.
            cls_loss: Scalar ranking loss.
            logits: The tensor that the ranking loss was computed on.
            outputs: The tensor that the errors were computed on.

        Returns:
            The loss, and the balance's factor (detached) for the log.
        """
        return self.balanced(self.mean(errors, weights), cls_loss, logits, outputs)

    def mean(self, errors: Tensor, weights: Tensor) -> Tensor:
        """Weighed mean ``sum_i w_i e_i / sum_i w_i`` (thesis Eq. 8.11), or the sum; not balanced.

        Without any positive it is 0, attached to the graph.
        """
        weights = weights.detach().to(errors.dtype)
        if not self.normalize:
            return (errors * weights).sum()
        total = weights.sum()
        if self.sync and world_size() > 1:
            # The mean over the processes, which gradients are averaged by, is the batch's mean.
            dist.all_reduce(total)
            total = total / world_size()
        return (errors * weights).sum() / total.clamp(min=torch.finfo(torch.float32).tiny)

    def balanced(
        self, loss: Tensor, cls_loss: Tensor, logits: Tensor, outputs: Tensor
    ) -> tuple[Tensor, Tensor]:
        """A loss that is a scalar already, balanced; and the factor."""
        factor = self.balance(cls_loss, loss, logits, outputs)
        return loss * factor, factor
