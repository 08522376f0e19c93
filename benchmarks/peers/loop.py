"""RS Loss the way the thesis computes it: one positive after the other."""

import torch

from mmdet_rank.ops import attach_gradient, unit_step


def loop_rank_sort(logits, targets, delta=0.5):
    """RS Loss (thesis Eq. 8.2-8.8) by a loop over the positives.

    Each step is vectorised over the negatives that can count at all; the others are dropped
    before the loop.
    """
    with torch.no_grad():
        positive = (targets > 0).nonzero().squeeze(1)
        scores, labels = logits[positive], targets[positive]
        negative = ((targets == 0) & (logits >= scores.min() - delta)).nonzero().squeeze(1)
        negative_scores = logits[negative]
        positive_gradient = torch.zeros_like(scores)
        negative_gradient = torch.zeros_like(negative_scores)
        value = logits.new_zeros(())
        for i in range(len(scores)):
            among_positives = unit_step(scores - scores[i], delta)
            among_negatives = unit_step(negative_scores - scores[i], delta)
            rank_among_positives = among_positives.sum()
            false_positives = among_negatives.sum()
            rank = rank_among_positives + false_positives
            ranking_error = false_positives / rank

            at_least = labels >= labels[i]
            target_mass = among_positives * at_least
            current = (among_positives * (1 - labels)).sum() / rank_among_positives
            target = (target_mass * (1 - labels)).sum() / target_mass.sum()
            sorting_error = current - target
            missorted = among_positives * ~at_least
            missorted_sum = missorted.sum()

            value += ranking_error + sorting_error
            negative_gradient += among_negatives * torch.where(
                false_positives > 0, ranking_error / false_positives, 0.0
            )
            positive_gradient += missorted * torch.where(
                missorted_sum > 0, sorting_error / missorted_sum, 0.0
            )
            positive_gradient[i] -= torch.where(false_positives > 0, ranking_error, 0.0)
            positive_gradient[i] -= torch.where(missorted_sum > 0, sorting_error, 0.0)
        gradient = torch.zeros_like(logits)
        gradient[negative] = negative_gradient
        gradient[positive] = positive_gradient
    return attach_gradient(logits, value / len(scores), gradient / len(scores))
