"""Focal margin loss: focal loss with a margin between foreground and background.

From the paper "Optimized Hybrid Focal Margin Loss for Crack Segmentation" (Eq. 2, 3, 11, 12).
What its text leaves open is in ``docs/losses_hybrid_focal_margin.md``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def focal_margin_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    margin: float = 1.0,
    gamma: float = 2.0,
    asymmetric: bool = True,
) -> Tensor:
    """Loss of each element, before the division by their number (focal margin Eq. 11, 12).

    With P the probability of the foreground, T the target, and P^ the probability that is left
    when the margin is taken from the logit, ``P^ = sigmoid(z - margin)``:

    - asymmetric (Eq. 11): ``-T log P^ - (1 - T) P^gamma log(1 - P)``: the rare foreground gets
      the margin and all of its loss, the background is attenuated;
    - symmetric (Eq. 12): ``-T (1 - P)^gamma log P^ - (1 - T) P^gamma log Q^`` with
      ``Q^ = sigmoid(-z - margin)``: both classes get both.

    ``margin = 0`` gives (asymmetric) focal loss (Eq. 2), ``gamma = 0`` the large margin loss
    (Eq. 3), both together binary cross entropy.

    Args:
        logits: Any shape, floating point.
        targets: Same shape, in [0, 1].
        margin: In units of the logits, at least 0. The paper recommends 0.5 where the foreground
            is above 7 % of the data, 1.5 where it is below 3 %.
        gamma: Attenuation, at least 0.
        asymmetric: Which of the two.

    Returns:
        Losses of the same shape, in float32 (float64 for float64 logits).

    Raises:
        ValueError: If shapes differ or a parameter is below 0.

    Example:
        >>> z, t = torch.zeros(2), torch.tensor([1.0, 0.0])
        >>> focal_margin_loss(z, t, margin=1.0, gamma=2.0)  # log(1 + e), log(2) / 4
        tensor([1.3133, 0.1733])
    """
    foreground, background = focal_margin_terms(
        logits, targets, margin=margin, gamma=gamma, asymmetric=asymmetric
    )
    return foreground + background


def focal_margin_terms(
    logits: Tensor, targets: Tensor, *, margin: float, gamma: float, asymmetric: bool
) -> tuple[Tensor, Tensor]:
    """The terms of the foreground and of the background, whose sum `focal_margin_loss` is."""
    if logits.shape != targets.shape:
        raise ValueError(
            "Expected targets of the shape of the logits, but got "
            f"{tuple(targets.shape)} for {tuple(logits.shape)}."
        )
    if not (margin >= 0 and gamma >= 0):
        raise ValueError(f"Expected margin >= 0 and gamma >= 0, but got {margin} and {gamma}.")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    targets = targets.to(logits.dtype)
    foreground = -targets * F.logsigmoid(logits - margin)
    # Powers as exponentials of logarithms: their gradient is finite at 0 for any gamma.
    attenuation = (gamma * F.logsigmoid(logits)).exp()
    if asymmetric:
        return foreground, (targets - 1) * attenuation * F.logsigmoid(-logits)
    return (
        foreground * (gamma * F.logsigmoid(-logits)).exp(),
        (targets - 1) * attenuation * F.logsigmoid(-logits - margin),
    )
