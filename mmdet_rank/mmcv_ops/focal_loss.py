"""Stand-ins for the sigmoid focal loss, forward and backward, in plain torch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mmdet_rank.mmcv_ops.precision import widen


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Focal loss of every logit: -alpha (1 - p)^gamma log p, or -(1 - alpha) p^gamma log(1 - p).

    Args:
        input: (N, C) logits.
        target: (N,) class indices; C or larger is background.
        weight: (C,) weight of each class, or empty for none.
        output: (N, C), written.
        gamma: Focusing exponent.
        alpha: Weight of the target class, 1 - alpha that of all others.
    """
    (logits,) = widen(input)
    p, log_p, log_q, positive = _terms(logits, target)
    loss = torch.where(positive, -alpha * (1 - p) ** gamma * log_p, -(1 - alpha) * p**gamma * log_q)
    output.copy_(_weigh(loss, target, weight))


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Derivative of every term of the loss by its own logit, written into `grad_input`."""
    (logits,) = widen(input)
    p, log_p, log_q, positive = _terms(logits, target)
    grad = torch.where(
        positive,
        -alpha * (1 - p) ** gamma * (1 - p - gamma * p * log_p),
        -(1 - alpha) * p**gamma * (gamma * (1 - p) * log_q - p),
    )
    grad_input.copy_(_weigh(grad, target, weight))


def _terms(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Probability p, log p, log(1 - p), and which logits belong to the target class."""
    classes = torch.arange(logits.shape[1], device=logits.device)
    positive = target[:, None] == classes
    return logits.sigmoid(), F.logsigmoid(logits), F.logsigmoid(-logits), positive


def _weigh(values: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Times the weight of each row's class; background has none."""
    if weight.numel() == 0:
        return values
    padded = torch.cat([weight.to(values.dtype), values.new_ones(1)])
    return values * padded[target.clamp(max=weight.numel())][:, None]
