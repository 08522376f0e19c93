"""Hybrid focal margin loss against hand-worked values, special cases and its definition."""

import math

import pytest
import torch
import torch.nn.functional as F

from mmdet_rank.ops import (
    focal_margin_loss,
    focal_tversky_loss,
    hybrid_focal_margin_loss,
    tversky_index,
)


def random_masks(shape=(3, 6, 5), seed=0):
    gen = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(shape, generator=gen, dtype=torch.float64)
    return logits, (torch.rand(shape, generator=gen) < 0.3).double()


def test_hand_worked_values():
    # TP 0.5, FN 0.5, FP 0.5.
    probs, targets = torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0.0])
    index = tversky_index(probs, targets, delta=0.7, smooth=1.0)
    assert index.item() == pytest.approx(1.5 / (0.5 + 0.7 * 0.5 + 0.3 * 0.5 + 1))
    assert focal_tversky_loss(probs, targets, gamma=0.75).item() == pytest.approx(0.25**0.75)
    # Focal margin loss of the two: log(1 + e) and log(2) / 4.
    loss = hybrid_focal_margin_loss(torch.zeros(2), targets, margin=1.0, focusing=2.0)
    pixels = (math.log(1 + math.e) + math.log(2) / 4) / 2
    assert loss.item() == pytest.approx(pixels + 0.25**0.75)
    weighed = hybrid_focal_margin_loss(torch.zeros(2), targets, balance=0.6)
    assert weighed.item() == pytest.approx(0.6 * pixels + 0.4 * 0.25**0.75)


def test_dice_and_cross_entropy_are_special_cases():
    logits, masks = random_masks()
    loss = hybrid_focal_margin_loss(
        logits, masks, margin=0, focusing=0, delta=0.5, gamma=1, smooth=0.5
    )
    probs = logits.sigmoid()
    dice = (2 * (probs * masks).sum((1, 2)) + 1) / (probs.sum((1, 2)) + masks.sum((1, 2)) + 1)
    entropy = F.binary_cross_entropy_with_logits(logits, masks, reduction="none").mean((1, 2))
    torch.testing.assert_close(loss, entropy + 1 - dice)


def test_regions():
    # Each mask of a batch is its own region, and each class of flat samples.
    logits, masks = random_masks((2, 3, 4, 5))
    loss = hybrid_focal_margin_loss(logits, masks)
    assert loss.shape == (2, 3)
    for i in range(2):
        for j in range(3):
            alone = hybrid_focal_margin_loss(logits[i, j].reshape(-1), masks[i, j].reshape(-1))
            torch.testing.assert_close(loss[i, j], alone)
    rows = hybrid_focal_margin_loss(logits[0, 0], masks[0, 0])
    assert rows.shape == (5,)
    torch.testing.assert_close(
        rows[2], hybrid_focal_margin_loss(logits[0, 0, :, 2], masks[0, 0, :, 2])
    )


def test_ignored_elements_have_no_part():
    logits, masks = random_masks((1, 4, 4))
    weights = torch.ones(1, 4, 4, dtype=torch.float64)
    weights[0, 3] = 0
    loss = hybrid_focal_margin_loss(logits, masks, weights=weights)
    torch.testing.assert_close(loss, hybrid_focal_margin_loss(logits[:, :3], masks[:, :3]))
    changed = logits.clone()
    changed[0, 3] += 9
    assert torch.equal(hybrid_focal_margin_loss(changed, masks, weights=weights), loss)
    nothing = hybrid_focal_margin_loss(logits, masks, weights=torch.zeros_like(weights))
    assert nothing.isfinite().all()


def test_the_margin_acts_on_the_pixels_alone():
    logits, masks = random_masks()
    with_margin = hybrid_focal_margin_loss(logits, masks, margin=1.0)
    without = hybrid_focal_margin_loss(logits, masks, margin=0.0)
    difference = focal_margin_loss(logits, masks, margin=1.0) - focal_margin_loss(
        logits, masks, margin=0.0
    )
    torch.testing.assert_close(with_margin - without, difference.mean((1, 2)))


@pytest.mark.parametrize("asymmetric", [True, False])
@pytest.mark.parametrize("balance", [None, 0.3])
def test_gradcheck(asymmetric, balance):
    logits, masks = random_masks((2, 3, 3))
    weights = torch.rand(2, 3, 3, dtype=torch.float64)
    logits.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda z: hybrid_focal_margin_loss(
            z, masks, asymmetric=asymmetric, balance=balance, weights=weights
        ),
        (logits,),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("foreground", [0.0, 1.0])
@pytest.mark.parametrize("sign", [-1, 1])
def test_perfect_and_worst_masks_have_finite_gradients(dtype, foreground, sign):
    masks = torch.full((1, 8, 8), foreground)
    logits = (sign * 200 * (2 * masks - 1)).to(dtype).requires_grad_()
    loss = hybrid_focal_margin_loss(logits, masks)
    loss.sum().backward()
    assert logits.grad.isfinite().all()
    assert loss.item() < 1e-4 if sign > 0 else loss.item() > 100


def test_mistakes():
    logits, masks = random_masks()
    with pytest.raises(ValueError, match=r"balance \(lambda\)"):
        hybrid_focal_margin_loss(logits, masks, balance=1.5)
    with pytest.raises(ValueError, match="delta in"):
        hybrid_focal_margin_loss(logits, masks, delta=2.0)
    with pytest.raises(ValueError, match="smooth > 0"):
        hybrid_focal_margin_loss(logits, masks, smooth=0.0)
    with pytest.raises(ValueError, match="gamma > 0"):
        hybrid_focal_margin_loss(logits, masks, gamma=0.0)
    with pytest.raises(ValueError, match="shape of the logits"):
        hybrid_focal_margin_loss(logits, masks[:2])
