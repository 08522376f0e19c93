"""aLRP Loss: average Localisation-Recall-Precision error over the positives (thesis 7.3)."""

from __future__ import annotations

import torch
from torch import Tensor

from .positives import PairSums
from .ranking import Blame, Ranking, rank_examples, result_dtype, run_eagerly, zero_loss
from .roles import read_roles


@run_eagerly
def average_lrp_loss(
    logits: Tensor,
    targets: Tensor | None = None,
    loc_errors: Tensor | None = None,
    *,
    positives: Tensor | None = None,
    ignored: Tensor | None = None,
    delta: float = 1.0,
    sync: bool = False,
    check_finite: bool = False,
) -> tuple[Tensor, Tensor]:
    """Average LRP (aLRP) Loss (thesis Eq. 7.2-7.7, K.3), its two parts.

    The gradient of the logits considers the localisation errors of the positives that outrank an
    example, less the target error ``E_loc(i) / rank(i)`` (Eq. 7.6): leaving the target out makes
    training diverge (appendix L.3). An example counts for its own rank by 1 (footnote 1 of 6.1).
    The localisation part weighs each positive's error by ``1/|P| sum_k [s_k <= s_i] / rank(k)``
    (Eq. K.3), a hard step with ties counted both ways, so that no order of the positives matters.

    Args:
        logits: (N,) classification logits (not probabilities), any floating dtype and device.
        targets: (N,) above 0: positive; 0: negative; below 0: ignored.
        loc_errors: (P,) localisation error of each positive in [0, 1], in the order in which the
            positives stand in ``targets`` or are given: ``(1 - IoU) / (1 - tau)``, or a GIoU loss
            halved.
        positives: (P,) int64 places of the positives, in place of targets; see ``rank_sort_loss``.
        ignored: (I,) int64 places of the ignored, beside ``positives``.
        delta: Half width of the smoothed step, in units of the logits; 0 is the hard step.
        sync: Rank over all processes of the default group; see ``rank_sort_loss``.
        check_finite: Refuse NaN and infinite inputs; makes the host wait for the device.

    Returns:
        ``(cls, loc)``: scalars, float32 (float64 for float64 logits). ``cls`` carries the
        Identity Update gradient to the logits and none to ``loc_errors``; ``loc`` is an ordinary
        differentiable function of ``loc_errors`` and carries none to the logits. Both are
        attached to their graphs also when there is no positive; then 0. With ``sync`` the mean
        of ``loc`` over the processes is the loss of the whole batch.

    Raises:
        TypeError: If an input is not a tensor, the logits are not floats or places are not int64.
        ValueError: If shapes or devices differ, ``loc_errors`` does not have one entry per
            positive, targets and positives are both or neither given, ``delta`` is negative, (on a
            CPU) a place is out of range or given twice, or, with ``check_finite``, a value is NaN
            or infinite.

    Example:
        >>> logits = torch.tensor([2.0, 1.0, 0.0], requires_grad=True)
        >>> loc_errors = torch.tensor([0.2, 0.4], requires_grad=True)
        >>> cls, loc = average_lrp_loss(
        ...     logits, torch.tensor([1.0, 0.0, 1.0]), loc_errors, delta=0.0)
        >>> round(cls.item(), 4), round(loc.item(), 4)  # (0 + 1/3)/2, (0.2/1 + 0.6/3)/2
        (0.1667, 0.2)
        >>> loc.backward()
        >>> [round(g, 4) for g in loc_errors.grad.tolist()]  # (1 + 1/3)/2, (1/3)/2
        [0.6667, 0.1667]
    """
    roles = read_roles(logits, targets, positives, None, ignored, delta, check_finite)
    if not isinstance(loc_errors, Tensor):
        raise TypeError(f"Expected loc_errors to be a tensor, but got {type(loc_errors).__name__}.")
    if loc_errors.dim() != 1:
        raise ValueError(
            f"Expected 1-D loc_errors, one per positive, but got shape {tuple(loc_errors.shape)}."
        )
    if loc_errors.device != logits.device:
        raise ValueError(
            f"Expected logits and loc_errors on one device, but got {logits.device} and "
            f"{loc_errors.device}."
        )
    if check_finite and not loc_errors.isfinite().all():
        bad = (~loc_errors.isfinite()).sum().item()
        raise ValueError(
            f"Expected finite loc_errors, but {bad} of {loc_errors.numel()} are NaN or infinite; "
            "look for boxes that are NaN or infinite themselves."
        )
    dtype = result_dtype(logits)
    ranking = rank_examples(logits, roles, delta, features=loc_errors[None], sync=sync)
    if ranking is None:
        return zero_loss(logits), loc_errors.sum().to(dtype) * 0
    blame = ranking.blame("average_lrp", _blame)
    weights = blame.weights[ranking.own].to(dtype)
    if ranking.world > 1:
        weights = weights * ranking.world
    (cls,) = ranking.attach(logits, blame)
    return cls, (loc_errors.to(dtype) * weights).sum()


def _blame(ranking: Ranking) -> Blame:
    errors, false_positives = ranking.features[0], ranking.false_positives
    others, error_sum = ranking.sum_over_positives(errors, itself=False)
    rank = 1 + others + false_positives
    # Eq. 7.7: error less target. E_loc(i) itself is in both and cancels.
    excess = torch.where(ranking.outranked, (false_positives + error_sum) / rank, 0.0)
    shares = torch.where(ranking.outranked, excess / false_positives, 0.0)
    # sum_k [s_k <= s_i] / rank(k)  (Eq. K.3)
    weights = PairSums(ranking.scores, delta=0.0).outranked(1 / rank[None])[0]
    return Blame(
        values=((false_positives / rank).mean(),),
        positives=-excess[None] / ranking.num_positives,
        shares=shares / ranking.num_positives,
        weights=weights / ranking.num_positives,
    )
