"""AP Loss: one minus the average precision over the positives (thesis 6.1)."""

from __future__ import annotations

import torch
from torch import Tensor

from .ranking import Blame, Ranking, rank_examples, run_eagerly, zero_loss
from .roles import read_roles


@run_eagerly
def average_precision_loss(
    logits: Tensor,
    targets: Tensor | None = None,
    *,
    positives: Tensor | None = None,
    ignored: Tensor | None = None,
    delta: float = 1.0,
    interpolated: bool = True,
    sync: bool = False,
    check_finite: bool = False,
) -> Tensor:
    """AP Loss (thesis Eq. 6.2), with interpolated precision by default.

    ``1 - mean_i rank+(i) / rank(i)`` over the positives. An example counts for its own rank by 1
    (footnote 1 of thesis 6.1). Interpolation replaces the precision of a positive by the largest
    one at its or any lower logit, as AP is evaluated, which takes the gradient from positives
    that do not move the interpolated curve. The gradient is that of Identity Update (6.3).

    Args:
        logits: (N,) classification logits (not probabilities), any floating dtype and device.
        targets: (N,) above 0: positive; 0: negative; below 0: ignored.
        positives: (P,) int64 places of the positives, in place of targets; see ``rank_sort_loss``.
        ignored: (I,) int64 places of the ignored, beside ``positives``.
        delta: Half width of the smoothed step, in units of the logits; 0 is the hard step.
        interpolated: Whether to interpolate the precision.
        sync: Rank over all processes of the default group; see ``rank_sort_loss``.
        check_finite: Refuse NaN and infinite inputs; makes the host wait for the device.

    Returns:
        Scalar in [0, 1], float32 (float64 for float64 logits), attached to the graph also when
        there is no positive; then 0.

    Raises:
        TypeError: If an input is not a tensor, the logits are not floats or places are not int64.
        ValueError: If shapes or devices differ, targets and positives are both or neither given,
            ``delta`` is negative, (on a CPU) a place is out of range or given twice, or, with
            ``check_finite``, a value is NaN or infinite.

    Example:
        >>> logits = torch.tensor([2.0, 1.0, 0.0], requires_grad=True)
        >>> targets = torch.tensor([1.0, 0.0, 1.0])
        >>> loss = average_precision_loss(logits, targets, delta=0.0)
        >>> round(loss.item(), 4)  # 1 - (1/1 + 2/3) / 2
        0.1667
    """
    roles = read_roles(logits, targets, positives, None, ignored, delta, check_finite)
    ranking = rank_examples(logits, roles, delta, sync=sync)
    if ranking is None:
        return zero_loss(logits)
    if interpolated:
        blame = ranking.blame("interpolated_average_precision", _blame_interpolated)
    else:
        blame = ranking.blame("average_precision", _blame)
    return ranking.attach(logits, blame)[0]


def _blame(ranking: Ranking) -> Blame:
    return _blame_for(ranking, _precision(ranking))


def _blame_interpolated(ranking: Ranking) -> Blame:
    precision = _precision(ranking)
    order = ranking.scores.argsort()
    running = precision[order].cummax(0).values
    # Positives with equal logits have equal precision, so that their order does not matter.
    return _blame_for(ranking, torch.empty_like(precision).scatter_(0, order, running))


def _precision(ranking: Ranking) -> Tensor:
    """rank+(i) / rank(i)  (Eq. 6.2)."""
    rank_among_positives = 1 + ranking.sum_over_positives(itself=False)[0]
    return rank_among_positives / (rank_among_positives + ranking.false_positives)


def _blame_for(ranking: Ranking, precision: Tensor) -> Blame:
    error = torch.where(ranking.outranked, 1 - precision, 0.0)
    shares = torch.where(ranking.outranked, error / ranking.false_positives, 0.0)
    return Blame(
        values=((1 - precision).mean(),),
        positives=-error[None] / ranking.num_positives,
        shares=shares / ranking.num_positives,
    )
