"""RS Loss by buckets, from the description in Bucketed Ranking-based Losses (ECCV 2024).

Sort all examples by logit; the negatives between two neighbouring positives form a bucket that
stands for all of them, with their mean logit, and their number as its weight; compare positives
and buckets pair by pair; share a bucket's gradient evenly among its members.
"""

import torch

from mmdet_rank.ops import attach_gradient, unit_step


def bucketed_rank_sort(logits, targets, delta=0.5, drop_unreachable=False):
    """RS Loss (thesis Eq. 8.2-8.8) with buckets in the place of negatives.

    Args:
        logits: (N,) logits.
        targets: (N,) above 0: positive, its label; 0: negative.
        delta: Half width of the smoothed step.
        drop_unreachable: Leave out negatives below all positives by more than delta before
            sorting, which the description does not ask for.
    """
    with torch.no_grad():
        places = None
        values, labels_of_all = logits, targets
        if drop_unreachable:
            lowest = logits[targets > 0].min() - delta
            places = ((targets > 0) | (logits >= lowest)).nonzero().squeeze(1)
            values, labels_of_all = logits[places], targets[places]
        values, order = values.sort(descending=True)
        sorted_targets = labels_of_all[order]
        is_positive = sorted_targets > 0
        scores, labels = values[is_positive], sorted_targets[is_positive]
        num_pos = len(scores)

        # Bucket b holds the negatives behind b positives.
        bucket = is_positive.cumsum(0)[~is_positive]
        size = torch.bincount(bucket, minlength=num_pos + 1).to(values.dtype)
        total = torch.zeros(num_pos + 1, dtype=torch.float64, device=values.device)
        total.scatter_add_(0, bucket, values[~is_positive].double())
        mean = torch.where(size > 0, total / size, 0.0).to(values.dtype)

        step = unit_step(mean - scores[:, None], delta) * size
        among_positives = unit_step(scores - scores[:, None], delta)
        rank_among_positives = among_positives.sum(1)
        false_positives = step.sum(1)
        ranking_error = false_positives / (rank_among_positives + false_positives)
        at_least = labels >= labels[:, None]
        target_mass = among_positives * at_least
        missorted = among_positives - target_mass
        blamed = missorted.sum(1)
        sorting_error = among_positives @ (1 - labels) / rank_among_positives
        sorting_error -= target_mass @ (1 - labels) / target_mass.sum(1)

        outranked = false_positives > 0
        shares = torch.where(outranked, ranking_error / false_positives, 0.0)
        demoting = torch.where(blamed > 0, sorting_error / blamed, 0.0)
        positive_gradient = demoting @ missorted
        positive_gradient -= torch.where(outranked, ranking_error, 0.0)
        positive_gradient -= torch.where(blamed > 0, sorting_error, 0.0)
        bucket_gradient = torch.where(size > 0, shares @ step / size, 0.0)

        by_rank = torch.empty_like(values)
        by_rank[is_positive] = positive_gradient
        by_rank[~is_positive] = bucket_gradient[bucket]
        gradient = torch.zeros_like(logits)
        gradient[order if places is None else places[order]] = by_rank
        value = (ranking_error + sorting_error).sum()
    return attach_gradient(logits, value / num_pos, gradient / num_pos)
