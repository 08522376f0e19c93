"""The losses that the crack paper compares, in float64 against its equations as they are written.

Sums over the pixels of one mask at a time, in plain Python, with none of the package's helpers.
"""

import math

import pytest
import torch
import torch.nn.functional as F
from random_masks import random_masks

from mmdet_rank.ops import (
    bce_dice_loss,
    focal_margin_loss,
    focal_tversky_loss,
    hybrid_focal_margin_loss,
    mean_iou_loss,
    squared_dice_loss,
    tversky_index,
    unified_focal_loss,
)


def sigmoid(z):
    return 1 / (1 + math.exp(-z))


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def tversky(p, t, delta, smooth):
    hits = sum(a * b for a, b in zip(p, t, strict=True))
    misses = sum((1 - a) * b for a, b in zip(p, t, strict=True))
    false = sum(a * (1 - b) for a, b in zip(p, t, strict=True))
    return (hits + smooth) / (hits + delta * misses + (1 - delta) * false + smooth)


def entropy(z, t, margin=0.0, gamma=0.0):
    """Eq. 11 of one pixel, which is Eq. 2 without margin and Eq. 3 without gamma."""
    return -t * math.log(sigmoid(z - margin)) - (1 - t) * sigmoid(z) ** gamma * math.log(
        1 - sigmoid(z)
    )


def squared_dice(z, t):
    p = [sigmoid(v) for v in z]
    hits = sum(a * b for a, b in zip(p, t, strict=True))
    return 1 - (2 * hits + 1) / (sum(b * b for b in t) + sum(a * a for a in p) + 1)


def bce_dice(z, t):
    p = [sigmoid(v) for v in z]
    hits = sum(a * b for a, b in zip(p, t, strict=True))
    return mean(map(entropy, z, t)) + 1 - (2 * hits + 1) / (sum(p) + sum(t) + 1)


def focal_tversky(z, t, delta=0.7, gamma=0.75):
    return (1 - tversky([sigmoid(v) for v in z], t, delta, 1)) ** gamma


def unified(z, t, delta=0.6, gamma=0.5, balance=0.5):
    """Eq. 8 and 10, with the weights of the classes that Yeung et al. give the pixels."""
    p = [sigmoid(v) for v in z]
    pixels = mean(
        -delta * b * math.log(a) - (1 - delta) * (1 - b) * a**gamma * math.log(1 - a)
        for a, b in zip(p, t, strict=True)
    )
    background = tversky([1 - a for a in p], [1 - b for b in t], delta, 1)
    foreground = tversky(p, t, delta, 1)
    regions = (1 - background) + (1 - foreground) ** (1 - gamma)
    return balance * pixels + (1 - balance) * regions


def mean_iou(z, t):
    p = [sigmoid(v) for v in z]
    ious = []
    for a, b in ((p, t), ([1 - v for v in p], [1 - v for v in t])):
        overlap = sum(x * y for x, y in zip(a, b, strict=True))
        ious.append((overlap + 1) / (sum(a) + sum(b) - overlap + 1))
    return 1 - mean(ious)


OF_LOGITS = {
    "bce_dice": (bce_dice_loss, bce_dice),
    "unified_focal": (unified_focal_loss, unified),
    "unified_focal, other options": (
        lambda z, t: unified_focal_loss(z, t, delta=0.8, gamma=0.2, balance=0.3),
        lambda z, t: unified(z, t, 0.8, 0.2, 0.3),
    ),
    "hybrid focal, Eq. 15": (
        lambda z, t: hybrid_focal_margin_loss(z, t, margin=0),
        lambda z, t: (
            mean(entropy(a, b, 0, 2) for a, b in zip(z, t, strict=True)) + focal_tversky(z, t)
        ),
    ),
    "hybrid focal margin, Eq. 14": (
        lambda z, t: hybrid_focal_margin_loss(z, t, margin=1.5),
        lambda z, t: (
            mean(entropy(a, b, 1.5, 2) for a, b in zip(z, t, strict=True)) + focal_tversky(z, t)
        ),
    ),
}
OF_PROBABILITIES = {
    "squared_dice": (squared_dice_loss, squared_dice),
    "focal_tversky": (focal_tversky_loss, focal_tversky),
    "tversky": (
        lambda p, t: focal_tversky_loss(p, t, gamma=1),
        lambda z, t: focal_tversky(z, t, gamma=1),
    ),
    "mean_iou": (mean_iou_loss, mean_iou),
}
LOSSES = OF_LOGITS | {
    name: (lambda z, t, f=function: f(z.sigmoid(), t), equation)
    for name, (function, equation) in OF_PROBABILITIES.items()
}


@pytest.mark.parametrize("name", LOSSES)
def test_equation(name):
    loss, equation = LOSSES[name]
    logits, masks = random_masks((2, 2, 6, 5))
    masks[1, 1] = 0  # a mask without foreground
    result = loss(logits, masks)
    assert result.shape == (2, 2)
    assert result.dtype == torch.float64
    for i in range(2):
        for j in range(2):
            expected = equation(logits[i, j].flatten().tolist(), masks[i, j].flatten().tolist())
            assert result[i, j].item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_gradient(name):
    loss, _ = LOSSES[name]
    logits, masks = random_masks((2, 3, 4))
    assert torch.autograd.gradcheck(lambda z: loss(z, masks), (logits.requires_grad_(),))


@pytest.mark.parametrize("name", LOSSES)
def test_regions_are_masks_or_classes_of_samples(name):
    loss, _ = LOSSES[name]
    logits, masks = random_masks((2, 4, 5))
    alone = [loss(z.flatten(), t.flatten()) for z, t in zip(logits, masks, strict=True)]
    torch.testing.assert_close(loss(logits, masks), torch.stack(alone))
    columns = [loss(logits[0, :, k], masks[0, :, k]) for k in range(5)]
    torch.testing.assert_close(loss(logits[0], masks[0]), torch.stack(columns))


@pytest.mark.parametrize(
    "weighed",
    [
        bce_dice_loss,
        unified_focal_loss,
        hybrid_focal_margin_loss,
        lambda z, t, weights: squared_dice_loss(z.sigmoid(), t, weights=weights),
        lambda z, t, weights: mean_iou_loss(z.sigmoid(), t, weights=weights),
    ],
)
def test_weights_repeat_or_leave_out(weighed):
    logits, masks = random_masks((1, 4, 6))
    weights = torch.ones_like(masks)
    weights[:, 0], weights[:, 1] = 0, 2
    repeated = [t[:, [1, 1, 2, 3]] for t in (logits, masks)]
    torch.testing.assert_close(
        weighed(logits, masks, weights=weights),
        weighed(*repeated, weights=torch.ones_like(repeated[0])),
    )


# Fig. 1: focal margin loss becomes focal loss without margin, large margin loss without gamma,
# and cross entropy without both.
def test_identities_of_figure_1():
    logits, masks = random_masks()
    probs = logits.sigmoid()
    entropies = F.binary_cross_entropy_with_logits(logits, masks, reduction="none")
    torch.testing.assert_close(focal_margin_loss(logits, masks, margin=0, gamma=0), entropies)
    symmetric = focal_margin_loss(logits, masks, margin=0, gamma=0, asymmetric=False)
    torch.testing.assert_close(symmetric, entropies)
    asymmetric_focal = torch.where(masks > 0, entropies, probs**2 * entropies)
    torch.testing.assert_close(focal_margin_loss(logits, masks, margin=0), asymmetric_focal)
    focal = torch.where(masks > 0, (1 - probs) ** 2 * entropies, probs**2 * entropies)
    torch.testing.assert_close(focal_margin_loss(logits, masks, margin=0, asymmetric=False), focal)
    moved = -(logits - 1.5).sigmoid().log()
    large_margin = torch.where(masks > 0, moved, entropies)
    torch.testing.assert_close(focal_margin_loss(logits, masks, margin=1.5, gamma=0), large_margin)


def test_squared_dice_is_dice_for_hard_masks():
    _, masks = random_masks()
    other = masks.flip(0)
    dice = focal_tversky_loss(other, masks, delta=0.5, gamma=1, smooth=0.5)
    torch.testing.assert_close(squared_dice_loss(other, masks), dice)


def test_unified_focal_loss_of_halves():
    # gamma = 0, delta = 0.5: half of cross entropy, and Dice losses of both classes.
    logits, masks = random_masks()
    loss = unified_focal_loss(logits, masks, delta=0.5, gamma=0, balance=0.25)
    entropies = F.binary_cross_entropy_with_logits(logits, masks, reduction="none").mean((1, 2))
    probs = logits.sigmoid()
    dice = [1 - tversky_index(p, t, delta=0.5) for p, t in ((probs, masks), (1 - probs, 1 - masks))]
    torch.testing.assert_close(loss, 0.25 * 0.5 * entropies + 0.75 * sum(dice))


def test_mean_iou_of_hard_masks():
    _, masks = random_masks((1, 20, 20))
    pred = masks.roll(1, 2)
    overlap, union = (masks * pred).sum(), ((masks + pred) > 0).sum()
    rest = ((masks + pred) == 0).sum()
    loss = mean_iou_loss(pred, masks, smooth=1e-9)
    expected = 1 - (overlap / union + rest / (rest + union - overlap)) / 2
    torch.testing.assert_close(loss, expected[None])
    foreground = mean_iou_loss(pred, masks, smooth=1e-9, background=False)
    torch.testing.assert_close(foreground, 1 - (overlap / union)[None])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("foreground", [0.0, 1.0])
@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("name", OF_LOGITS)
def test_extreme_logits_have_finite_gradients(name, dtype, foreground, sign):
    masks = torch.full((1, 8, 8), foreground)
    logits = (sign * 200 * (2 * masks - 1)).to(dtype).requires_grad_()
    loss = LOSSES[name][0](logits, masks)
    loss.sum().backward()
    assert loss.dtype == torch.float32
    assert logits.grad.isfinite().all()
    assert (loss.item() < 1e-3) == (sign > 0)


def test_mistakes():
    logits, masks = random_masks()
    with pytest.raises(ValueError, match=r"balance \(lambda\) in \[0, 1\], but got 2"):
        unified_focal_loss(logits, masks, balance=2)
    with pytest.raises(ValueError, match=r"gamma in \[0, 1\), but got 1"):
        unified_focal_loss(logits, masks, gamma=1)
    with pytest.raises(ValueError, match="delta in"):
        unified_focal_loss(logits, masks, delta=-0.1)
    for loss in (squared_dice_loss, mean_iou_loss):
        with pytest.raises(ValueError, match="smooth > 0, but got 0"):
            loss(logits.sigmoid(), masks, smooth=0)
        with pytest.raises(ValueError, match="shape of the probabilities"):
            loss(logits.sigmoid(), masks[:2])
    with pytest.raises(ValueError, match="shape of the logits"):
        bce_dice_loss(logits, masks[:2])
