import pytest
import torch
from ranking_cases import assert_close

from mmdet_rank.ops import positives, unit_step
from mmdet_rank.ops.positives import PairSums


@pytest.mark.parametrize("way", ["matrix", "running sums"])
def test_equals_all_pairs(way, monkeypatch):
    if way != "matrix":
        monkeypatch.setattr(positives, "MOST_IN_A_MATRIX", 0)
    for seed in range(200):
        gen = torch.Generator().manual_seed(seed)
        size = int(torch.randint(1, 150, (1,), generator=gen))
        scores = torch.randn(size, generator=gen, dtype=torch.float64)
        labels = torch.rand(size, generator=gen, dtype=torch.float64)
        if seed % 3 == 0:
            scores, labels = (scores * 2).round() / 2, (labels * 3).round()
        weights = torch.rand(2, size, generator=gen, dtype=torch.float64)
        delta = (0.0, 0.25, 2.0)[seed % 3]
        step = unit_step(scores[:, None] - scores[None, :], delta)
        lower = step * (labels[:, None] < labels[None, :])
        sums = PairSums(scores, delta, labels)
        assert_close(sums.outranking(weights), weights @ step, torch.float64)
        assert_close(sums.outranked(weights), weights @ step.T, torch.float64)
        assert_close(sums.outranking_lower(weights), weights @ lower, torch.float64)
        assert_close(sums.outranked_higher(weights), weights @ lower.T, torch.float64)
