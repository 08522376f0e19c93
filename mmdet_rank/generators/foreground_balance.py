"""Online foreground balanced sampling: every class has the same chance (thesis 4.6.1)."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["foreground_balanced_weights", "sample_foreground_balanced"]


def sample_foreground_balanced(
    labels: Tensor, num: int, generator: torch.Generator | None = None
) -> Tensor:
    """Draw positives so that every class present has the same chance (thesis 4.6.1, OFB).

    Each of the ``k_c`` positives of class c among C classes has probability ``1 / (C k_c)``; they
    are drawn one after the other, without replacement. Classes that run out leave their share to
    the others.

    Args:
        labels: (P,) integer classes of the positives of an image, any device.
        num: How many to draw, at least 0.
        generator: Source of randomness; torch's default one without it. It may be of another device
            than the labels.

    Returns:
        (num,) int64 places in ``labels``, all different, on its device; all places, in order, when
        there are no more than ``num``.

    Raises:
        TypeError: If ``labels`` is not a tensor of integers.
        ValueError: If ``labels`` is not 1-D or ``num`` is negative.

    Example:
        >>> labels = torch.tensor([0] * 98 + [7, 7])
        >>> drawn = [sample_foreground_balanced(labels, 1).item() >= 98 for _ in range(1000)]
        >>> 400 < sum(drawn) < 600
        True
    """
    weights = foreground_balanced_weights(labels)
    if num < 0:
        raise ValueError(f"Expected num >= 0, but got {num}.")
    if len(labels) <= num:
        return torch.arange(len(labels), device=labels.device)
    if num == 0:
        return labels.new_zeros(0, dtype=torch.int64)
    if generator is not None:
        weights = weights.to(generator.device)
    return torch.multinomial(weights, num, generator=generator).to(labels.device)


def foreground_balanced_weights(labels: Tensor) -> Tensor:
    """Probabilities ``1 / (C k_c)`` of positives by their class (thesis 4.6.1).

    Args:
        labels: (P,) integer classes.

    Returns:
        (P,) float32 with sum 1.

    Raises:
        TypeError: If ``labels`` is not a tensor of integers.
        ValueError: If it is not 1-D.

    Example:
        >>> foreground_balanced_weights(torch.tensor([3, 5, 5, 5, 5]))
        tensor([0.5000, 0.1250, 0.1250, 0.1250, 0.1250])
    """
    if not isinstance(labels, Tensor) or labels.is_floating_point():
        kind = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
        raise TypeError(f"Expected labels as a tensor of integers, but got {kind}.")
    if labels.dim() != 1:
        raise ValueError(f"Expected labels of shape (P,), but got {tuple(labels.shape)}.")
    classes, which, counts = labels.unique(return_inverse=True, return_counts=True)
    return 1 / (max(len(classes), 1) * counts[which].float())
