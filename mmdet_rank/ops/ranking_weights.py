"""Weights of positives by the ranks of those that they outrank."""

from __future__ import annotations

import torch
from torch import Tensor

from .eager import run_eagerly
from .positives import sums_over_positives
from .ranking import rank_examples, result_dtype
from .validation import check_inputs


def ranking_weights(
    logits: Tensor,
    targets: Tensor,
    *,
    delta: float = 0.5,
    hard: bool = False,
    sync: bool = False,
) -> Tensor:
    """Ranking-based importance ``w_i = 1/|P| sum_k H(s_i - s_k) / rank(k)`` (thesis 8.4.2).

    The weight that aLRP Loss gives to the localisation error of a positive (Eq. K.3), with the
    step smoothed: large for positives that rank high, and the more alike the larger ``delta`` is.

    Args:
        logits: (N,) classification logits, any floating dtype and device.
        targets: (N,) above 0: positive; 0: negative; below 0: ignored.
        delta: Half width of the smoothed step, in the numerator and in the ranks.
        hard: Take the unit step in the numerator and smooth the ranks alone, as aLRP Loss does
            ("default" in thesis Table N.2).
        sync: Rank over all processes of the default group.

    Returns:
        (P,) weights of one's own positives, in their order in ``targets``; float32 (float64 for
        float64 logits), without gradient.

    Raises:
        TypeError: If an input is no tensor or the logits are no floats.
        ValueError: If shapes or devices differ or ``delta`` is negative.

    Example:
        >>> ranking_weights(torch.tensor([2.0, 1.0, 0.0]), torch.tensor([1.0, 0.0, 1.0]), delta=0.0)
        tensor([0.6667, 0.1667])
    """
    check_inputs(logits, targets, delta, check_finite=False)
    return _ranking_weights(logits, targets, delta, hard, sync)


@run_eagerly
@torch.no_grad()
def _ranking_weights(
    logits: Tensor, targets: Tensor, delta: float, hard: bool, sync: bool
) -> Tensor:
    ranking = rank_examples(logits, targets, delta, sync=sync)
    if ranking is None:
        return logits.new_zeros(0, dtype=result_dtype(logits))
    rank = ranking.sum_over_positives()[0] + ranking.false_positives
    weights = sums_over_positives(-ranking.scores, 1 / rank[None], 0.0 if hard else delta)[0]
    return (weights / ranking.num_positives)[ranking.own].to(result_dtype(logits))
