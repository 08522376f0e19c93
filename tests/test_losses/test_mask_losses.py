"""The registered losses on masks: names, call forms of heads, probabilities, reductions."""

import pytest
import torch
from mmdet.models.losses import CIoULoss, IoULoss
from mmdet.models.losses import GIoULoss as StockGIoULoss
from mmdet.registry import MODELS
from random_masks import random_masks

from mmdet_rank import ops
from mmdet_rank.losses import CompleteIoULoss, ElementLoss, MaskLoss

# Each name, other options than its own, and the function that it stands for.
MODULES = {
    "BinaryFocalLoss": (
        dict(gamma=1.0),
        lambda z, t: ops.focal_margin_loss(z, t, margin=0, gamma=1, asymmetric=False),
    ),
    "AsymmetricFocalLoss": (
        dict(gamma=1.0),
        lambda z, t: ops.focal_margin_loss(z, t, margin=0, gamma=1),
    ),
    "LargeMarginLoss": (
        dict(margin=0.5),
        lambda z, t: ops.focal_margin_loss(z, t, margin=0.5, gamma=0),
    ),
    "BCEDiceLoss": ({}, ops.bce_dice_loss),
    "BinaryDiceLoss": (
        {},
        lambda z, t: ops.focal_tversky_loss(z.sigmoid(), t, delta=0.5, gamma=1, smooth=0.5),
    ),
    "SquaredDiceLoss": (
        dict(smooth=2.0),
        lambda z, t: ops.squared_dice_loss(z.sigmoid(), t, smooth=2),
    ),
    "BinaryTverskyLoss": (
        dict(delta=0.6),
        lambda z, t: ops.focal_tversky_loss(z.sigmoid(), t, delta=0.6, gamma=1),
    ),
    "FocalTverskyLoss": (
        dict(delta=0.6, gamma=0.5),
        lambda z, t: ops.focal_tversky_loss(z.sigmoid(), t, delta=0.6, gamma=0.5),
    ),
    "HybridFocalLoss": (
        dict(focusing=1.0),
        lambda z, t: ops.hybrid_focal_margin_loss(z, t, margin=0, focusing=1),
    ),
    "UnifiedFocalLoss": (
        dict(delta=0.7, gamma=0.2, balance=0.4),
        lambda z, t: ops.unified_focal_loss(z, t, delta=0.7, gamma=0.2, balance=0.4),
    ),
    "MeanIoULoss": (
        dict(background=False),
        lambda z, t: ops.mean_iou_loss(z.sigmoid(), t, background=False),
    ),
}


@pytest.mark.parametrize("name", MODULES)
def test_module_is_its_function(name):
    options, function = MODULES[name]
    pred, target = random_masks((2, 3, 6, 5))
    loss = MODELS.build(dict(type=name, loss_weight=3.0, **options))
    each = function(pred, target)
    assert isinstance(loss, ElementLoss) == (each.shape == pred.shape)
    torch.testing.assert_close(loss(pred, target), 3 * each.mean())
    torch.testing.assert_close(loss(pred, target, avg_factor=4), 3 * each.sum() / 4)
    torch.testing.assert_close(loss(pred, target, reduction_override="none"), 3 * each)
    per_mask = torch.rand(2, 3, dtype=torch.float64)
    weighed = each * (per_mask[..., None, None] if each.dim() == 4 else per_mask)
    torch.testing.assert_close(loss(pred, target, per_mask), 3 * weighed.mean())


@pytest.mark.parametrize("name", [*MODULES, "FocalMarginLoss", "HybridFocalMarginLoss"])
def test_probabilities_of_heads_that_activate(name):
    pred, target = random_masks((2, 6, 5))
    loss, of_probabilities = (
        MODELS.build(dict(type=name, activate=activate)) for activate in (True, False)
    )
    torch.testing.assert_close(of_probabilities(pred.sigmoid(), target), loss(pred, target))
    cropped = pred.sigmoid()
    cropped[:, 3:] = 0
    cropped.requires_grad_()
    of_probabilities(cropped, target).backward()
    assert cropped.grad.isfinite().all()


@pytest.mark.parametrize("name", [*MODULES, "FocalMarginLoss", "HybridFocalMarginLoss"])
def test_labels_in_the_third_place_choose_the_channel(name):
    # Mask R-CNN's head: logits of all classes, masks, class labels.
    pred, masks = random_masks((3, 4, 7, 7))
    labels = torch.tensor([2, 0, 3])
    loss = MODELS.build(dict(type=name))
    own = torch.stack([pred[0, 2], pred[1, 0], pred[2, 3]])
    torch.testing.assert_close(loss(pred, masks[:, 0], labels), loss(own, masks[:, 0]))


@pytest.mark.parametrize("name", MODULES)
def test_nothing_to_train_on(name):
    for shape in ((0, 4, 4), (0,), (0, 3), (2, 0, 4)):
        pred = torch.zeros(shape, requires_grad=True)
        loss = MODELS.build(dict(type=name))(pred, torch.zeros(shape))
        loss.backward()
        assert loss == 0
        assert pred.grad.shape == shape


def test_what_a_mask_loss_refuses():
    for name in MODULES:
        loss = MODELS.build(dict(type=name))
        assert isinstance(loss, MaskLoss)
        with pytest.raises(ValueError, match=f"use_sigmoid=True for {name}"):
            MODELS.build(dict(type=name, use_sigmoid=False))
        with pytest.raises(ValueError, match=f"one per mask in {name}"):
            loss(torch.zeros(3, 4, 4), torch.zeros(3, 4, 4), torch.ones(2))


def complete_iou(a, b):
    """CIoU loss of two boxes, as the note writes it."""
    width = max(min(a[2], b[2]) - max(a[0], b[0]), 0)
    height = max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    iou = width * height / (sum(areas) - width * height)
    hull = (max(a[2], b[2]) - min(a[0], b[0])) ** 2 + (max(a[3], b[3]) - min(a[1], b[1])) ** 2
    rho = ((a[0] + a[2] - b[0] - b[2]) ** 2 + (a[1] + a[3] - b[1] - b[3]) ** 2) / 4
    angles = [torch.tensor((x[2] - x[0]) / (x[3] - x[1])).atan().item() for x in (a, b)]
    v = 4 / torch.pi**2 * (angles[0] - angles[1]) ** 2
    return 1 - iou + rho / hull + v / (1 - iou + v) * v


def test_complete_iou_loss():
    pairs = [([0.0, 0, 4, 2], [1.0, 0, 3, 4]), ([0.0, 0, 8, 2], [10.0, 5, 12, 9])]
    pred, target = (torch.tensor(boxes, dtype=torch.float64) for boxes in zip(*pairs, strict=True))
    each = CompleteIoULoss()(pred, target, reduction_override="none")
    for value, (a, b) in zip(each, pairs, strict=True):
        assert value.item() == pytest.approx(complete_iou(a, b), abs=1e-6)
    # MMDetection's has no aspect ratio for boxes that overlap by half or less.
    stock = CIoULoss()(pred, target, reduction_override="none")
    assert (each > stock + 0.01).all()
    weight = torch.tensor([[2.0] * 4, [0.0] * 4])
    loss = MODELS.build(dict(type="CompleteIoULoss", loss_weight=2.0))
    torch.testing.assert_close(loss(pred, target, weight, avg_factor=1), 4 * each[0])


def test_complete_iou_loss_of_degenerate_boxes():
    pred = torch.tensor([[1.0, 1, 1, 1], [3.0, 3, 2, 2]], requires_grad=True)
    loss = CompleteIoULoss()(pred, torch.tensor([[0.0, 0, 2, 2], [0.0, 0, 2, 2]]))
    loss.backward()
    assert loss.isfinite()
    assert pred.grad.isfinite().all()
    assert CompleteIoULoss()(pred[:0], pred[:0]) == 0
    # Far from the origin, where float32 does not know a millionth of a pixel.
    sides = torch.tensor([[0.0, 0], [4, 0], [0, 4]])
    for far in (100.0, 5000.0):
        corner = torch.full((3, 2), far)
        pred = torch.cat([corner, corner + sides], dim=1).requires_grad_()
        target = torch.cat([corner, corner + torch.tensor([10.0, 20])], dim=1)
        loss = CompleteIoULoss()(pred, target, reduction_override="none")
        loss.sum().backward()
        near = torch.cat([sides * 0, sides], dim=1)
        expected = CompleteIoULoss()(near, target - far, reduction_override="none")
        torch.testing.assert_close(loss, expected, rtol=1e-3, atol=1e-3)
        assert pred.grad.isfinite().all()


def test_linear_iou_and_giou_of_mmdetection_are_the_formulas():
    pred, target = torch.tensor([[0.0, 0, 4, 2]]), torch.tensor([[1.0, 0, 3, 4]])
    # Overlap 2 x 2, union 12, hull 4 x 4.
    assert IoULoss(mode="linear")(pred, target).item() == pytest.approx(1 - 4 / 12)
    giou = 4 / 12 - (16 - 12) / 16
    assert StockGIoULoss()(pred, target).item() == pytest.approx(1 - giou)
