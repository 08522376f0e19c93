"""Localisation losses of single positives, from MMDetection's own loss modules."""

from __future__ import annotations

import torch
from mmdet.models.losses import CIoULoss, DIoULoss, EIoULoss, GIoULoss, IoULoss, SIoULoss
from torch import Tensor, nn

from mmdet_rank.losses.complete_iou_loss import CompleteIoULoss

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


def weighted_mean(errors: Tensor, weights: Tensor, total: Tensor) -> Tensor:
    """``sum_i w_i e_i / total`` (thesis Eq. 8.11); 0, attached, when there is no positive."""
    return (errors * weights).sum() / total.clamp(min=torch.finfo(torch.float32).tiny)
