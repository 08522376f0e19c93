"""RS Loss: rank positives above negatives and sort them by their labels (thesis 8.3)."""

from __future__ import annotations

import torch
from torch import Tensor

from .ranking import Blame, Ranking, rank_examples, run_eagerly, zero_loss
from .roles import read_roles


@run_eagerly
def rank_sort_loss(
    logits: Tensor,
    targets: Tensor | None = None,
    *,
    positives: Tensor | None = None,
    labels: Tensor | None = None,
    ignored: Tensor | None = None,
    delta: float = 0.5,
    sync: bool = False,
    check_finite: bool = False,
) -> tuple[Tensor, Tensor]:
    """Rank & Sort Loss (thesis Eq. 8.2-8.8), its ranking and its sorting part.

    The ranking error of a positive is the share of negatives among all that outrank it,
    ``N_FP(i) / rank(i)``; the sorting error is the mean of ``1 - label`` over the positives that
    outrank it, less what that mean would be had only those with at least its own label done so.
    An example counts for its own rank by H(0), as all others do (footnote 1 of thesis 6.1).

    Gradients are those of Identity Update (Eq. 8.7, 8.8), no derivatives. ``ranking`` carries the
    gradient of the ranking error and ``sorting`` that of the sorting error, so that either can be
    weighed; none flows to ``targets``.

    Args:
        logits: (N,) classification logits (not probabilities), any floating dtype and device.
        targets: (N,) above 0: positive, its continuous label, at most 1 (its IoU, say); 0:
            negative; below 0: ignored.
        positives: In place of targets: (P,) int64 places of the positives in ``logits``, none
            twice. Saves the search for them, for which the host waits for a GPU. Ascending ones
            give what targets give, bit for bit.
        labels: (P,) the continuous label of each. Default: 1.
        ignored: (I,) int64 places of the ignored; all others are negatives.
        delta: Half width of the smoothed step, in units of the logits; 0 is the hard step.
        sync: Rank over the examples of all processes of the default group; gradients are scaled
            so that their mean over the processes is that of the whole batch.
        check_finite: Refuse NaN and infinite inputs; makes the host wait for the device.

    Returns:
        ``(ranking, sorting)``: scalars in [0, 1], float32 (float64 for float64 logits), attached
        to the graph also when there is no positive; then 0.

    Raises:
        TypeError: If an input is not a tensor, the logits are not floats or places are not int64.
        ValueError: If shapes or devices differ, targets and positives are both or neither given,
            ``delta`` is negative, (on a CPU) a place is out of range or given twice, or, with
            ``check_finite``, a value is NaN or infinite.

    Example:
        A positive with label 0.9 below a negative, and one with 0.6 above both:

        >>> logits = torch.tensor([2.0, 1.0, 0.0], requires_grad=True)
        >>> ranking, sorting = rank_sort_loss(logits, torch.tensor([0.6, 0.0, 0.9]), delta=0.0)
        >>> round(ranking.item(), 4), round(sorting.item(), 4)  # (0 + 1/3) / 2, (0 + 0.15) / 2
        (0.1667, 0.075)
        >>> (ranking + sorting).backward()
        >>> [round(g, 4) for g in logits.grad.tolist()]
        [0.075, 0.1667, -0.2417]
    """
    roles = read_roles(logits, targets, positives, labels, ignored, delta, check_finite)
    ranking = rank_examples(logits, roles, delta, sync=sync)
    if ranking is None:
        return zero_loss(logits), zero_loss(logits)
    ranking_loss, sorting_loss = ranking.attach(logits, ranking.blame("rank_sort", _blame))
    return ranking_loss, sorting_loss


def _blame(ranking: Ranking) -> Blame:
    labels, false_positives = ranking.features[0], ranking.false_positives
    rank_among_positives, loss_sum = ranking.sum_over_positives(1 - labels)
    rank = rank_among_positives + false_positives
    # l_R(i) p_R(j|i) = H(x_ij) / rank(i)  (Eq. 8.7)
    shares = torch.where(ranking.outranked, 1 / rank, 0.0)
    sorting_error, sorting_gradient = _sorting_error(ranking, rank_among_positives, loss_sum)
    positives = torch.stack([-shares * false_positives, sorting_gradient])
    return Blame(
        values=((false_positives / rank).mean(), sorting_error.mean()),
        positives=positives / ranking.num_positives,
        shares=shares / ranking.num_positives,
    )


def _sorting_error(ranking: Ranking, rank: Tensor, loss_sum: Tensor) -> tuple[Tensor, Tensor]:
    """Sorting error l_S(i) - l*_S(i) of each positive (Eq. 8.5), and the gradient of its sum."""
    labels = ranking.features[0]
    rows = torch.stack([torch.ones_like(labels), 1 - labels])
    missorted, missorted_loss = ranking.pairs.outranking_lower(rows)
    target_rank = rank - missorted  # at least H(0): nobody's label is above its own
    target_loss = loss_sum - missorted_loss
    error = loss_sum / rank - target_loss / target_rank
    # Rounding may leave a trace of an error where nobody is missorted.
    blamed = missorted > torch.finfo(missorted.dtype).eps * rank
    error = torch.where(blamed, error.clamp(min=0), 0.0)
    shares = torch.where(blamed, error / missorted, 0.0)
    # What j is demoted by comes from the i with larger labels and smaller logits (Eq. 8.8).
    demoted = ranking.pairs.outranked_higher(shares[None])[0]
    return error, demoted - error
