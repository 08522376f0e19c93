import pytest
import torch
from ranking_cases import assert_close

from mmdet_rank.ops import unit_step
from mmdet_rank.ops.positives import sums_over_positives


@pytest.mark.parametrize("with_labels", [False, True])
def test_equals_all_pairs(with_labels):
    for seed in range(300):
        gen = torch.Generator().manual_seed(seed)
        size = int(torch.randint(1, 150, (1,), generator=gen))
        scores = torch.randn(size, generator=gen, dtype=torch.float64)
        labels = torch.rand(size, generator=gen, dtype=torch.float64)
        if seed % 3 == 0:
            scores, labels = (scores * 2).round() / 2, (labels * 3).round()
        weights = torch.rand(2, size, generator=gen, dtype=torch.float64)
        delta = (0.0, 0.25, 2.0)[seed % 3]
        step = unit_step(scores[None, :] - scores[:, None], delta)
        if with_labels:
            step = step * (labels[None, :] < labels[:, None])
        sums = sums_over_positives(scores, weights, delta, labels if with_labels else None)
        assert_close(sums, weights @ step.T, torch.float64)
