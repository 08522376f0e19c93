"""Figures that the diagnostics hook logs, by hand."""

from types import SimpleNamespace

import mmdet_rank.register  # noqa: F401

import pytest
import torch
from mmdet.registry import MODELS
from torch import nn

from mmdet_rank.criteria import build_criterion
from mmdet_rank.engine.ranking_diagnostics_hook import _criteria, diagnose, spearman
from mmdet_rank.losses import RankSortLoss


def test_criteria_are_told_apart_by_their_places():
    head, layers = nn.Module(), nn.Module()
    head.criterion, layers.criteria = criterion(), nn.ModuleList([criterion(), criterion()])
    model = nn.ModuleDict({"rpn_head": head, "bbox_head": layers})
    found = [name for name, _ in _criteria(SimpleNamespace(model=model))]
    assert found == ["rpn_head/", "bbox_head/criteria/0/", "bbox_head/criteria/1/"]
    assert [name for name, _ in _criteria(SimpleNamespace(model=head))] == [""]


def criterion():
    return build_criterion(None, RankSortLoss(), MODELS.build(dict(type="GIoULoss")))


def test_ties_take_their_mean_rank():
    # Ranks 1, 2.5, 2.5, 4 and 2, 1, 3.5, 3.5: their products about 2.5 sum to 2.25, and the
    # squares of either to 4.5.
    first, second = torch.tensor([0.1, 0.5, 0.5, 0.9]), torch.tensor([3.0, 1.0, 7.0, 7.0])
    assert spearman(first, second) == pytest.approx(0.5)
    # In whatever order they come.
    order = torch.tensor([2, 0, 3, 1])
    assert spearman(first[order], second[order]) == pytest.approx(0.5)


def test_undefined_correlations():
    assert spearman(torch.tensor([0.3]), torch.tensor([0.5])) is None
    assert spearman(torch.zeros(0), torch.zeros(0)) is None
    assert spearman(torch.full((3,), 0.3), torch.tensor([0.1, 0.2, 0.3])) is None
    assert spearman(torch.tensor([0.1, 0.2, 0.3]), torch.full((3,), 0.3)) is None


def test_ignored_examples_are_in_neither_sum():
    gradient = torch.tensor([-3.0, 1.0, 0.5, 100.0])
    targets = torch.tensor([0.7, 0.0, 0.0, -1.0])
    quality = torch.tensor([0.7])
    assert diagnose(gradient, targets, torch.tensor([2.0]), quality) == {"grad_ratio": 2.0}
    # Without a negative that is outranked there is no ratio.
    assert diagnose(torch.zeros(4), targets, torch.tensor([2.0]), quality) == {}
