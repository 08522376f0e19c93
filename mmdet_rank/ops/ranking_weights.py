"""Weights of positives by the ranks of those that they outrank."""

from __future__ import annotations

import torch
from torch import Tensor

from .positives import PairSums
from .ranking import Blame, Ranking, rank_examples, result_dtype, run_eagerly
from .roles import read_roles


@run_eagerly
@torch.no_grad()
def ranking_weights(
    logits: Tensor,
    targets: Tensor | None = None,
    *,
    positives: Tensor | None = None,
    ignored: Tensor | None = None,
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
        positives: (P,) int64 places of the positives, in place of targets; see ``rank_sort_loss``.
        ignored: (I,) int64 places of the ignored, beside ``positives``.
        delta: Half width of the smoothed step, in the numerator and in the ranks.
        hard: Take the unit step in the numerator and smooth the ranks alone, as aLRP Loss does
            ("default" in thesis Table N.2).
        sync: Rank over all processes of the default group.

    Returns:
        (P,) weights of one's own positives, in their order; float32 (float64 for
        float64 logits), without gradient.

    Raises:
        TypeError: If an input is not a tensor, the logits are not floats or places are not int64.
        ValueError: If shapes or devices differ, targets and positives are both or neither given,
            ``delta`` is negative, or (on a CPU) a place is out of range or given twice.

    Example:
        >>> ranking_weights(torch.tensor([2.0, 1.0, 0.0]), torch.tensor([1.0, 0.0, 1.0]), delta=0.0)
        tensor([0.6667, 0.1667])
    """
    roles = read_roles(logits, targets, positives, None, ignored, delta, check_finite=False)
    ranking = rank_examples(logits, roles, delta, sync=sync)
    if ranking is None:
        return logits.new_zeros(0, dtype=result_dtype(logits))
    name, by_torch = ("hard_weights", _blame_hard) if hard else ("weights", _blame)
    blame = ranking.blame(name, by_torch)
    return blame.weights[ranking.own].to(result_dtype(logits))


def _blame(ranking: Ranking) -> Blame:
    return _blame_by(ranking, ranking.pairs)


def _blame_hard(ranking: Ranking) -> Blame:
    return _blame_by(ranking, PairSums(ranking.scores, delta=0.0))


def _blame_by(ranking: Ranking, pairs: PairSums) -> Blame:
    rank = ranking.sum_over_positives()[0] + ranking.false_positives
    weights = pairs.outranked(1 / rank[None])[0]
    return Blame(weights=weights / ranking.num_positives)
