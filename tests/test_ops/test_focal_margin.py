"""Focal margin loss against hand-worked values, its special cases and its definition."""

import math

import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import sigmoid_focal_loss

from mmdet_rank.ops import focal_margin_loss


def random_case(shape=(40,), seed=0):
    gen = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(shape, generator=gen, dtype=torch.float64)
    return logits, (torch.rand(shape, generator=gen) < 0.3).double()


def definition(z, t, margin, gamma, asymmetric):
    """Eq. 11 and 12 for one element, with probabilities as they stand on paper."""
    p = 1 / (1 + math.exp(-z))
    p_hat = 1 / (1 + math.exp(-(z - margin)))
    if asymmetric:
        return -t * math.log(p_hat) - p**gamma * (1 - t) * math.log(1 - p)
    q_hat = 1 / (1 + math.exp(z + margin))
    foreground = (1 - p) ** gamma * t * math.log(p_hat)
    return -foreground - p**gamma * (1 - t) * math.log(q_hat)


@pytest.mark.parametrize("asymmetric", [True, False])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("margin", [0.0, 0.5, 1.5])
def test_definition(margin, gamma, asymmetric):
    logits, targets = random_case()
    loss = focal_margin_loss(logits, targets, margin=margin, gamma=gamma, asymmetric=asymmetric)
    expected = [
        definition(z, t, margin, gamma, asymmetric)
        for z, t in zip(logits.tolist(), targets.tolist(), strict=True)
    ]
    torch.testing.assert_close(loss, torch.tensor(expected, dtype=torch.float64))


def test_hand_worked_values():
    # p = 1/2; with margin 1, P^ = 1 / (1 + e).
    logits, targets = torch.zeros(2), torch.tensor([1.0, 0.0])
    loss = focal_margin_loss(logits, targets, margin=1.0, gamma=2.0)
    assert loss.tolist() == pytest.approx([math.log(1 + math.e), math.log(2) / 4])
    loss = focal_margin_loss(logits, targets, margin=1.0, gamma=2.0, asymmetric=False)
    assert loss.tolist() == pytest.approx([math.log(1 + math.e) / 4] * 2)
    # p = 3/4, no margin, gamma 1.
    loss = focal_margin_loss(
        torch.full((2,), math.log(3)), targets, margin=0.0, gamma=1.0, asymmetric=True
    )
    assert loss.tolist() == pytest.approx([math.log(4 / 3), 0.75 * math.log(4)])


def test_special_cases():
    # The transitions of the paper's Fig. 1.
    logits, targets = random_case()
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    for asymmetric in (True, False):
        plain = focal_margin_loss(logits, targets, margin=0, gamma=0, asymmetric=asymmetric)
        torch.testing.assert_close(plain, entropy)
    focal = sigmoid_focal_loss(logits, targets, alpha=-1, gamma=2)
    loss = focal_margin_loss(logits, targets, margin=0, gamma=2, asymmetric=False)
    torch.testing.assert_close(loss, focal)
    # Asymmetric focal loss (Eq. 2): the foreground is not attenuated.
    loss = focal_margin_loss(logits, targets, margin=0, gamma=2)
    torch.testing.assert_close(loss, torch.where(targets == 1, entropy, focal))
    # Asymmetric large margin loss (Eq. 3): the foreground's logits lose the margin.
    loss = focal_margin_loss(logits, targets, margin=0.8, gamma=0)
    shifted = F.binary_cross_entropy_with_logits(logits - 0.8 * targets, targets, reduction="none")
    torch.testing.assert_close(loss, shifted)


@pytest.mark.parametrize("asymmetric", [True, False])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_gradcheck(gamma, asymmetric):
    logits, targets = random_case((3, 4))
    logits.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda z: focal_margin_loss(z, targets, gamma=gamma, asymmetric=asymmetric), (logits,)
    )


@pytest.mark.parametrize("asymmetric", [True, False])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_extreme_logits_of_low_precision(dtype, gamma, asymmetric):
    logits = torch.tensor([300.0, -300.0, 300.0, -300.0], dtype=dtype, requires_grad=True)
    targets = torch.tensor([1.0, 1.0, 0.0, 0.0])
    loss = focal_margin_loss(logits, targets, gamma=gamma, asymmetric=asymmetric)
    loss.sum().backward()
    assert loss.dtype == torch.float32
    assert logits.grad.isfinite().all()
    assert loss[0] == loss[3] == 0
    assert (loss[1:3] >= 300).all()


def test_mistakes():
    with pytest.raises(ValueError, match="shape of the logits"):
        focal_margin_loss(torch.zeros(2, 3), torch.zeros(2))
    for options in (dict(margin=-0.1), dict(gamma=-1.0)):
        with pytest.raises(ValueError, match="margin >= 0 and gamma >= 0"):
            focal_margin_loss(torch.zeros(2), torch.zeros(2), **options)
