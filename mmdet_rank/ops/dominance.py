"""Sums of the smoothed step over the positives with smaller labels, without P x P pairs.

The sorting error of RS Loss asks, for each positive i, for sums over the positives j that have a
larger logit *and* a smaller label. On positives sorted by logit, the logits to be counted are one
range of places; a wavelet matrix over the labels' ranks then answers "which of this range have a
rank below b" by walking down the bits of b, one prefix sum per bit. Time O(P log P), memory O(P)
per bit, exact.
"""

from __future__ import annotations

import torch
from torch import Tensor


def smaller_label_sums(scores: Tensor, labels: Tensor, weights: Tensor, delta: float) -> Tensor:
    """``sum_j w_j H(s_j - s_i) [y_j < y_i]`` for each i (the sums of thesis Eq. 8.4 and 8.6).

    Args:
        scores: (P,) logits, wide floats.
        labels: (P,) labels, compared exactly.
        weights: (R, P) one row of weights per wanted sum.
        delta: Half width of the step, at least 0.

    Returns:
        (R, P) sums, same dtype as ``weights``.

    Example:
        >>> scores, labels = torch.tensor([2.0, 1.0, 0.0]), torch.tensor([0.2, 0.1, 0.9])
        >>> smaller_label_sums(scores, labels, torch.ones(1, 3), 0.5)
        tensor([[0., 0., 2.]])
    """
    sorted_scores, by_score = scores.sort()
    label_rank = torch.searchsorted(labels.sort().values, labels)
    # The three borders of "not counted", "linear part" and "counted whole", in score order.
    start = torch.searchsorted(sorted_scores, scores - delta)
    stop = torch.searchsorted(sorted_scores, scores + delta) if delta > 0 else start
    borders = torch.stack([start, stop, torch.full_like(start, scores.numel())])

    ranks = label_rank[by_score]
    center = scores.mean()
    weights = weights[:, by_score]
    carried = torch.cat([weights, weights * (sorted_scores - center)])  # (2R, P)

    places = torch.arange(scores.numel(), device=scores.device)
    sums = carried.new_zeros(carried.shape[0], *borders.shape)
    for bit in reversed(range(max(scores.numel() - 1, 1).bit_length())):
        is_zero = ((ranks >> bit) & 1) == 0
        zeros_before = torch.nn.functional.pad(is_zero.cumsum(0), (1, 0))
        num_zeros = zeros_before[-1]
        # Stable partition, examples with a 0 in this bit in front.
        target = torch.where(is_zero, zeros_before[:-1], num_zeros + places - zeros_before[:-1])
        source = torch.empty_like(target).scatter_(0, target, places)
        ranks, carried = ranks[source], carried[:, source]
        running = torch.nn.functional.pad(carried.cumsum(1), (1, 0))
        zeros = zeros_before[borders]
        # Where the bound has a 1, all that share its higher bits and have a 0 lie below it.
        has_one = ((label_rank >> bit) & 1) == 1
        sums += torch.where(has_one, running[:, zeros], 0.0)
        borders = torch.where(has_one, num_zeros + borders - zeros, zeros)
    linear = sums[:, 1] - sums[:, 0]
    whole = sums[:, 2] - sums[:, 1]
    num_sums = weights.shape[0]
    result = whole[:num_sums]
    if delta > 0:
        begin = scores - delta - center
        partial = (linear[num_sums:] - begin * linear[:num_sums]) / (2 * delta)
        result = result + torch.minimum(partial.clamp(min=0), linear[:num_sums])
    return result
