"""FocalMarginLoss and HybridFocalMarginLoss in MMDetection's call form, trained on cracks."""

import mmdet_rank.register  # noqa: F401

import pytest
import torch
from mmdet.registry import MODELS

from mmdet_rank.losses import FocalMarginLoss, HybridFocalMarginLoss
from mmdet_rank.ops import focal_margin_loss, hybrid_focal_margin_loss


def random_masks(shape=(3, 6, 5), seed=0):
    gen = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=gen), (torch.rand(shape, generator=gen) < 0.3).float()


def test_focal_margin_call_form():
    pred, target = random_masks()
    each = focal_margin_loss(pred, target, margin=0.5, gamma=1.0)
    loss = MODELS.build(dict(type="FocalMarginLoss", margin=0.5, gamma=1.0, loss_weight=3.0))
    torch.testing.assert_close(loss(pred, target), 3 * each.mean())
    weight = torch.rand(3, 6, 5)
    torch.testing.assert_close(
        loss(pred, target, weight, avg_factor=7.0), 3 * (each * weight).sum() / 7
    )
    torch.testing.assert_close(loss(pred, target, reduction_override="none"), 3 * each)
    symmetric = FocalMarginLoss(margin=0.5, gamma=1.0, asymmetric=False)
    expected = focal_margin_loss(pred, target, margin=0.5, gamma=1.0, asymmetric=False)
    torch.testing.assert_close(symmetric(pred, target), expected.mean())


def test_class_labels():
    pred, _ = random_masks((4, 3))
    labels = torch.tensor([0, 3, 2, 1])
    one_hot = torch.tensor([[1, 0, 0], [0, 0, 0], [0, 0, 1], [0, 1, 0]])
    weight = torch.tensor([1.0, 1.0, 0.0, 2.0])
    each = focal_margin_loss(pred, one_hot) * weight[:, None]
    loss = FocalMarginLoss()
    torch.testing.assert_close(loss(pred, labels, weight, avg_factor=2), each.sum() / 2)
    torch.testing.assert_close(loss(pred, one_hot, weight, avg_factor=2), each.sum() / 2)
    hybrid = HybridFocalMarginLoss()
    torch.testing.assert_close(hybrid(pred, labels), hybrid_focal_margin_loss(pred, one_hot).mean())


def test_hybrid_call_form():
    pred, target = random_masks((2, 2, 6, 5))
    options = dict(margin=1.5, focusing=1.0, delta=0.6, gamma=0.5, smooth=2.0, balance=0.4,
                   asymmetric=False)  # fmt: skip
    each = hybrid_focal_margin_loss(pred, target, **options)
    loss = MODELS.build(dict(type="HybridFocalMarginLoss", loss_weight=2.0, **options))
    torch.testing.assert_close(loss(pred, target), 2 * each.mean())
    per_mask = torch.rand(2, 2)
    torch.testing.assert_close(loss(pred, target, per_mask), 2 * (each * per_mask).mean())
    torch.testing.assert_close(loss(pred, target, avg_factor=3), 2 * each.sum() / 3)
    weights = torch.rand(2, 2, 6, 5)
    expected = hybrid_focal_margin_loss(pred, target, weights=weights, **options)
    torch.testing.assert_close(loss(pred, target, weights), 2 * expected.mean())
    torch.testing.assert_close(loss(pred, target, reduction_override="none"), 2 * each)


@pytest.mark.parametrize("name", ["FocalMarginLoss", "HybridFocalMarginLoss"])
def test_nothing_to_train_on(name):
    pred = torch.zeros(0, 4, 4, requires_grad=True)
    loss = MODELS.build(dict(type=name))(pred, torch.zeros(0, 4, 4))
    loss.backward()
    assert loss == 0


@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0, 4)])
def test_regions_of_nothing(shape):
    pred = torch.zeros(shape, requires_grad=True)
    loss = MODELS.build(dict(type="HybridFocalMarginLoss"))(pred, torch.zeros(shape))
    loss.backward()
    assert loss == 0
    assert pred.grad.shape == shape


@pytest.mark.parametrize("name", ["FocalMarginLoss", "HybridFocalMarginLoss"])
def test_cracks_are_learnt(name):
    # Dark lines, 3 % of the pixels, in noise: a convolution of 5 x 5 finds them.
    torch.manual_seed(0)
    masks = torch.zeros(4, 1, 32, 32)
    for image, row in enumerate((5, 11, 20, 27)):
        masks[image, 0, row, 2:30] = 1
    images = 0.3 * torch.randn(4, 1, 32, 32) - masks
    model = torch.nn.Conv2d(1, 1, 5, padding=2)
    loss = MODELS.build(dict(type=name, margin=1.0))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        loss(model(images), masks).backward()
        optimizer.step()
    found = model(images) > 0
    union = (found | masks.bool()).sum()
    assert (found & masks.bool()).sum() / union > 0.6


@pytest.mark.parametrize("loss", [FocalMarginLoss, HybridFocalMarginLoss])
def test_mistakes(loss):
    with pytest.raises(ValueError, match="use_sigmoid=True"):
        loss(use_sigmoid=False)
    with pytest.raises(ValueError, match="reduction"):
        loss(reduction="all")
    with pytest.raises(ValueError, match="integer class labels"):
        loss()(torch.zeros(3, 2), torch.zeros(2, dtype=torch.long))
    if loss is HybridFocalMarginLoss:
        with pytest.raises(ValueError, match="one per mask"):
            loss()(torch.zeros(3, 4, 4), torch.zeros(3, 4, 4), torch.ones(2))
