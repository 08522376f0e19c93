"""RS Loss on all pairs: fast in a few large kernels, as long as P x N entries fit."""

import torch

from mmdet_rank.ops import attach_gradient, unit_step


def dense_rank_sort(logits, targets, delta=0.5, block=None, dtype=None):
    """RS Loss (thesis Eq. 8.2-8.8) on the P x N matrix of all pairs.

    Args:
        logits: (N,) logits.
        targets: (N,) above 0: positive, its label; 0: negative.
        delta: Half width of the smoothed step.
        block: Compute this many rows of the matrix of pairs at a time, twice. Default: all at once.
        dtype: Dtype of everything. Default: that of the logits. float64 makes it the reference.
    """
    with torch.no_grad():
        dtype = dtype or logits.dtype
        positive = (targets > 0).nonzero().squeeze(1)
        scores, labels = logits[positive].to(dtype), targets[positive].to(dtype)
        negative = (targets == 0).nonzero().squeeze(1)
        if block is not None:
            # The reference may skip what adds exact zeros; the peer shows the plain matrix.
            negative = negative[logits[negative].to(dtype) >= scores.min() - delta]
        others = logits[negative].to(dtype)
        num_pos = len(scores)

        negative_gradient = torch.zeros_like(others)
        positive_gradient = torch.zeros_like(scores)
        value = scores.new_zeros(())
        for rows in torch.arange(num_pos, device=logits.device).split(block or num_pos):
            step = unit_step(others - scores[rows, None], delta)
            among_positives = unit_step(scores - scores[rows, None], delta)
            rank_among_positives = among_positives.sum(1)
            false_positives = step.sum(1)
            ranking_error = false_positives / (rank_among_positives + false_positives)

            at_least = labels >= labels[rows, None]
            target_mass = among_positives * at_least
            current = among_positives @ (1 - labels) / rank_among_positives
            missorted = among_positives - target_mass
            blamed = missorted.sum(1)
            sorting_error = current - target_mass @ (1 - labels) / target_mass.sum(1)

            value += (ranking_error + sorting_error).sum()
            outranked = false_positives > 0
            shares = torch.where(outranked, ranking_error / false_positives, 0.0)
            negative_gradient += shares @ step
            demoting = torch.where(blamed > 0, sorting_error / blamed, 0.0)
            positive_gradient += demoting @ missorted
            positive_gradient[rows] -= torch.where(outranked, ranking_error, 0.0)
            positive_gradient[rows] -= torch.where(blamed > 0, sorting_error, 0.0)
        gradient = torch.zeros_like(logits, dtype=dtype)
        gradient[negative] = negative_gradient
        gradient[positive] = positive_gradient
    return attach_gradient(logits, value / num_pos, gradient / num_pos)
