"""The three losses written down on all pairs, on top of the package's Identity Update."""

import torch

from mmdet_rank.ops import identity_update, unit_step


def _pairs(logits, targets, delta, itself):
    """H(x_ij) for all pairs, and the masks of positives and negatives. float64."""
    logits = logits.double()
    step = unit_step(logits[None, :] - logits[:, None], delta)
    positive, negative = targets > 0, targets == 0
    among_positives = step * positive[None, :]
    if itself is not None:
        among_positives.fill_diagonal_(itself)
    return step, among_positives, step * negative[None, :], positive


def _pmf(mass):
    total = mass.sum(1, keepdim=True)
    return torch.where(total > 0, mass / total.clamp(min=1e-300), 0.0)


def dense_rank_sort(logits, targets, delta):
    """(ranking, sorting, gradient of ranking, gradient of sorting), Eq. 8.2-8.6."""
    labels = targets.double()
    _, pos, neg, positive = _pairs(logits, targets, delta, None)
    rank_pos = pos.sum(1)
    ranking_error = torch.where(positive, neg.sum(1) / (rank_pos + neg.sum(1)), 0.0)
    at_least = (labels[None, :] >= labels[:, None]).double()
    current = (pos * (1 - labels)).sum(1) / rank_pos
    target = (pos * at_least * (1 - labels)).sum(1) / (pos * at_least).sum(1)
    current, target = (torch.where(positive, v, 0.0) for v in (current, target))
    count, none = positive.sum(), torch.zeros_like(labels)
    ranking, grad_r = identity_update(ranking_error, none, _pmf(neg), count)
    sorting, grad_s = identity_update(current, target, _pmf(pos * (1 - at_least)), count)
    return ranking, sorting, grad_r, grad_s


def dense_average_precision(logits, targets, delta, interpolated=True):
    """(loss, gradient), Eq. 6.2 with each example counting itself by 1."""
    _, pos, neg, positive = _pairs(logits, targets, delta, 1.0)
    rank_pos, fp = pos.sum(1), neg.sum(1)
    precision = rank_pos / (rank_pos + fp)
    if interpolated:
        lower = positive[None, :] & (logits[None, :] <= logits[:, None])
        precision = torch.where(lower, precision[None, :], 0.0).amax(1)
    error = torch.where(positive, 1 - precision, 0.0)
    return identity_update(error, torch.zeros_like(error), _pmf(neg), positive.sum())


def dense_average_lrp(logits, targets, loc_errors, delta):
    """(cls, loc, gradient of the logits, weight of each positive's error), Eq. 7.2-7.7, K.3."""
    _, pos, neg, positive = _pairs(logits, targets, delta, 1.0)
    errors = torch.zeros(logits.numel(), dtype=torch.float64)
    errors[positive] = loc_errors.double()
    fp = neg.sum(1)
    rank = pos.sum(1) + fp
    current = torch.where(positive, (fp + (pos * errors).sum(1)) / rank, 0.0)
    target = torch.where(positive, errors / rank, 0.0)
    _, gradient = identity_update(current, target, _pmf(neg), positive.sum())
    own = logits[positive].double()
    hard = unit_step(own[None, :] - own[:, None], 0.0)  # [s_k >= s_i]
    weights = (hard / rank[positive][:, None]).sum(0) / positive.sum()
    cls = (fp / rank)[positive].mean()
    return cls, (weights * loc_errors.double()).sum(), gradient, weights
