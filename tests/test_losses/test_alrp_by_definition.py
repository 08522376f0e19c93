"""aLRP Loss by its definition: the fast one with the right target, and what a wrong one does."""

import pytest
import torch
from dense_losses import dense_average_lrp

from mmdet_rank.losses import aLRPLoss, aLRPLossByDefinition


def problem(seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = (torch.randn(60, generator=generator) * 2).requires_grad_()
    targets = torch.zeros(60)
    targets[torch.tensor([4, 9, 23, 41, 58])] = 1
    targets[50:55] = -1
    errors = torch.rand(5, generator=generator) * 0.5
    return logits, targets, errors.requires_grad_()


def gradients(loss, logits, targets, errors, **places):
    ranked = loss.rank(logits, targets, errors, **places)
    grads = torch.autograd.grad(ranked.cls + 3 * ranked.loc, [logits, errors])
    return ranked.cls.detach(), ranked.loc.detach(), *grads


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("by_places", [False, True])
def test_the_right_target_is_the_fast_loss(seed, by_places):
    logits, targets, errors = problem(seed)
    options = dict(delta=0.5, tau=0.4, loss_weight=2.0)
    fast = gradients(aLRPLoss(**options), logits, targets, errors)
    places = {}
    if by_places:
        places = {
            "positives": (targets > 0).nonzero()[:, 0],
            "ignored": (targets < 0).nonzero()[:, 0],
        }
        targets = None
    slow = gradients(aLRPLossByDefinition(**options), logits, targets, errors, **places)
    for one, other in zip(slow, fast, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


def test_a_wrong_target_adds_the_own_error_to_every_excess():
    logits, targets, errors = problem()
    logits = (logits.detach() - 4 * (targets > 0)).requires_grad_()
    right = aLRPLossByDefinition(delta=0.5)
    wrong = aLRPLossByDefinition("zero", delta=0.5)
    value, _, gradient, _ = gradients(wrong, logits, targets, errors)
    cls, _, expected, _ = gradients(right, logits, targets, errors)
    # Every positive has a negative above it, so both directions grow alike.
    assert gradient.sum().item() == pytest.approx(0, abs=1e-6)
    assert gradient.abs().sum() > expected.abs().sum()
    _, _, dense, _ = dense_average_lrp(logits.detach(), targets, errors.detach() * 2, 0.5)
    torch.testing.assert_close(expected.double(), dense, rtol=1e-5, atol=1e-7)
    assert value > cls


def test_well_ranked_positives_are_still_raised_by_a_wrong_target():
    targets = torch.tensor([1.0, 1.0, 0.0, 0.0, 0.0])
    errors = torch.tensor([0.1, 0.3]).requires_grad_()
    logits = torch.tensor([5.0, 4.0, -5.0, -6.0, -7.0]).requires_grad_()
    *_, gradient, _ = gradients(aLRPLossByDefinition(delta=0.0), logits, targets, errors)
    assert gradient.tolist() == [0] * 5
    *_, gradient, _ = gradients(aLRPLossByDefinition("zero", delta=0.0), logits, targets, errors)
    # Errors over 1 - tau are .2 and .6; the mean error is .2 at rank 1 and (.2 + .6) / 2 at rank 2.
    torch.testing.assert_close(gradient, torch.tensor([-0.1, -0.2, 0, 0, 0]))


def test_no_positive_and_mistakes():
    logits = torch.randn(6, requires_grad=True)
    ranked = aLRPLossByDefinition("zero").rank(logits, torch.zeros(6), torch.zeros(0))
    ranked.cls.backward()
    assert logits.grad.tolist() == [0] * 6
    with pytest.raises(ValueError, match="'localization' or 'zero', but got 'own'"):
        aLRPLossByDefinition("own")
    with pytest.raises(ValueError, match="Expected sync=False"):
        aLRPLossByDefinition(sync=True)
