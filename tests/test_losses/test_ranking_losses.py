"""The registered losses in MMDetection's call form."""

import pytest
import torch
from mmdet.registry import MODELS

from mmdet_rank.losses.base import scatter_labels
from mmdet_rank.ops import average_lrp_loss, average_precision_loss, rank_sort_loss

LOSSES = ["RankSortLoss", "aLRPLoss", "APLoss"]


def example():
    gen = torch.Generator().manual_seed(0)
    logits = torch.randn(30, 4, generator=gen)
    labels = torch.full((30,), 4)
    labels[:5] = torch.tensor([0, 3, 1, 1, 2])
    quality = torch.rand(30, generator=gen)
    return logits, labels, quality


def test_values_are_those_of_the_functions():
    logits, labels, quality = example()
    hard, soft = scatter_labels(logits, labels), scatter_labels(logits, labels, quality)
    flat = logits.flatten()
    build = MODELS.build
    rs = build(dict(type="RankSortLoss", delta=0.7, loss_weight=2.0))
    expected = sum(rank_sort_loss(flat, soft, delta=0.7))
    torch.testing.assert_close(rs(logits, (labels, quality)), 2 * expected)
    torch.testing.assert_close(rs(logits, soft.view_as(logits)), 2 * expected)
    no_sort = build(dict(type="RankSortLoss", sort=False))
    torch.testing.assert_close(no_sort(logits, (labels, quality)), rank_sort_loss(flat, soft)[0])
    ap = build(dict(type="APLoss", interpolated=False))
    expected = average_precision_loss(flat, hard, interpolated=False)
    torch.testing.assert_close(ap(logits, labels), expected)
    alrp = build(dict(type="aLRPLoss", tau=0.75))
    ranked = alrp.rank(flat, hard, torch.full((5,), 0.1))
    cls, loc = average_lrp_loss(flat, hard, torch.full((5,), 0.4))
    torch.testing.assert_close(ranked.cls, cls)
    torch.testing.assert_close(ranked.loc, loc)


@pytest.mark.parametrize("name", LOSSES)
def test_integer_targets_of_every_logit(name):
    logits, labels, _ = example()
    loss = MODELS.build(dict(type=name))
    targets = scatter_labels(logits, labels).view_as(logits)
    torch.testing.assert_close(loss(logits, targets.long()), loss(logits, targets))
    weight = torch.ones(len(logits))
    weight[:3] = 0
    expected = loss(logits, targets, weight)
    torch.testing.assert_close(loss(logits, targets.bool(), weight), expected)
    with pytest.raises(ValueError, match=r"for flat logits, but got torch.int64.*target.float()"):
        loss(logits.flatten(), targets.long().flatten())


@pytest.mark.parametrize("name", LOSSES)
def test_weights_of_zero_are_ignored(name):
    logits, labels, _ = example()
    loss = MODELS.build(dict(type=name))
    weight = torch.ones(30)
    weight[10:20] = 0
    logits.requires_grad_()
    value = loss(logits, labels, weight)
    value.backward()
    assert (logits.grad[10:20] == 0).all()
    kept = weight > 0
    torch.testing.assert_close(value, loss(logits[kept], labels[kept]))


@pytest.mark.parametrize("name", LOSSES)
def test_what_cannot_be_honoured_is_refused(name):
    logits, labels, _ = example()
    loss = MODELS.build(dict(type=name))
    with pytest.raises(ValueError, match=r"avg_factor=None .* use the Rank\.\.\. head"):
        loss(logits, labels, avg_factor=5)
    with pytest.raises(ValueError, match="'none'"):
        loss(logits, labels, reduction_override="none")
    with pytest.raises(ValueError, match=r"integer class labels of shape \(A,\)"):
        loss(logits, labels.float())
    with pytest.raises(ValueError, match="Expected weight of shape"):
        loss(logits, labels, torch.ones(7))
    with pytest.raises(ValueError, match="use_sigmoid=True"):
        MODELS.build(dict(type=name, use_sigmoid=False))
    with pytest.raises(ValueError, match="delta >= 0"):
        MODELS.build(dict(type=name, delta=-1))
    loss(logits, labels, reduction_override="mean")


def test_labels_of_positives_stay_positive():
    targets = scatter_labels(torch.zeros(2, 3), torch.tensor([1, 0]), torch.zeros(2))
    assert (targets > 0).sum() == 2
