"""The losses in MMSegmentation's call form: adapters that compute nothing themselves."""

import mmdet_rank.register  # noqa: F401

import pytest
import torch
from mmseg.registry import MODELS
from random_masks import random_masks

from mmdet_rank import losses, ops
from mmdet_rank.losses.pixel_loss import MASK_LOSSES, PIXEL_LOSSES, RANKING_LOSSES, sample_pixels
from mmdet_rank.ops.pixel_labels import depth_labels, overlap_labels

MASK_NAMES = [loss.__name__ for loss in MASK_LOSSES]
RANKING_NAMES = [loss.__name__ for loss in RANKING_LOSSES]


def batch(channels=1, size=(6, 5), ignored=False):
    """Logits of two images, and labels; of one, the upper rows are ignored."""
    gen = torch.Generator().manual_seed(0)
    pred = torch.randn(2, channels, *size, generator=gen)
    target = torch.randint(max(channels, 2), (2, *size), generator=gen)
    if ignored:
        target[0, :2] = 255
    return pred.requires_grad_(), target


def build(name, **options):
    # The scope is named: a training in an earlier test leaves that of MMDetection behind.
    return MODELS.build(dict(type=f"mmseg.{name}", **options))


def test_every_loss_is_where_mmseg_looks():
    assert set(PIXEL_LOSSES) == {*MASK_NAMES, *RANKING_NAMES, "REGLoss"}
    for name, adapter in PIXEL_LOSSES.items():
        assert type(MODELS.build(dict(type=f"mmseg.{name}"))) is adapter
        assert adapter.loss_class is getattr(losses, name)
        assert build(name).loss_name.startswith("loss_")
    assert build("MeanIoULoss").loss_name == "loss_mean_iou"
    assert build("RankSortLoss", loss_name="loss_rs").loss_name == "loss_rs"


@pytest.mark.parametrize("name", MASK_NAMES)
def test_one_channel_is_the_mask_of_class_1(name):
    pred, target = batch()
    expected = getattr(losses, name)()(pred[:, 0], (target == 1).float())
    torch.testing.assert_close(build(name)(pred, target), expected)


@pytest.mark.parametrize("name", MASK_NAMES)
def test_several_channels_are_the_masks_of_their_classes(name):
    pred, target = batch(channels=3)
    masks = torch.stack([target == c for c in range(3)], dim=1).float()
    torch.testing.assert_close(build(name)(pred, target), getattr(losses, name)()(pred, masks))


@pytest.mark.parametrize("name", PIXEL_LOSSES)
def test_ignored_pixels_have_no_part(name):
    pred, target = batch(ignored=True)
    loss = build(name)(pred, target, ignore_index=255)
    loss.backward()
    assert (pred.grad[0, 0, :2] == 0).all()
    assert (pred.grad[:, :, 2:] != 0).any()
    changed = pred.detach().clone()
    changed[0, 0, :2] += 5
    torch.testing.assert_close(build(name)(changed, target), loss.detach())
    seven = torch.where(target == 255, 7, target)
    torch.testing.assert_close(build(name, ignore_index=7)(pred, seven), loss)
    torch.testing.assert_close(build(name)(pred, seven, ignore_index=7), loss)


def test_ignored_pixels_do_not_dilute_a_mean():
    pred, target = batch(ignored=True)
    kept = target != 255
    elements = ops.focal_margin_loss(pred[:, 0][kept], target[kept])
    torch.testing.assert_close(build("FocalMarginLoss")(pred, target), elements.mean())


@pytest.mark.parametrize("name", MASK_NAMES)
def test_class_weights(name):
    pred, target = batch()
    weights = torch.where(target == 1, 3.0, 0.5)
    expected = getattr(losses, name)()(pred[:, 0], (target == 1).float(), weights)
    weighed = build(name, class_weight=[0.5, 3.0])
    torch.testing.assert_close(weighed(pred, target), expected)
    pred, target = batch(channels=3)
    masks = torch.stack([target == c for c in range(3)], dim=1).float()
    of_channel = torch.tensor([1.0, 0.0, 2.0])[:, None, None].expand(2, 3, 6, 5)
    torch.testing.assert_close(
        build(name, class_weight=[1, 0, 2])(pred, target),
        getattr(losses, name)()(pred, masks, of_channel),
    )


def test_reg_loss_of_pixels():
    pred, target = batch(ignored=True)
    kept = target != 255
    labels = (target != 1).long()[kept]  # class 0, or background
    each = ops.refined_generalized_focal_loss(pred[:, 0][kept][:, None], labels)
    torch.testing.assert_close(
        build("REGLoss", class_weight=[1.0, 4.0])(pred, target),
        (each * torch.where(labels == 0, 4.0, 1.0)).mean(),
    )
    pred, target = batch(channels=3, ignored=True)
    kept = target != 255
    labels = torch.where(kept, target, 3)
    for use_sigmoid in (True, False):
        of_pixels = losses.REGLoss(use_sigmoid=use_sigmoid)
        expected = of_pixels(pred, labels, kept.float(), avg_factor=kept.sum())
        loss = build("REGLoss", use_sigmoid=use_sigmoid)
        torch.testing.assert_close(loss(pred, target), expected)
        weights = torch.tensor([1.0, 3.0, 0.5, 0.0])[labels]
        weighed = build("REGLoss", use_sigmoid=use_sigmoid, class_weight=[1.0, 3.0, 0.5])
        torch.testing.assert_close(
            weighed(pred, target), of_pixels(pred, labels, weights, avg_factor=kept.sum())
        )
        with pytest.raises(ValueError, match="class_weight of 3 numbers for 3 output"):
            build("REGLoss", use_sigmoid=use_sigmoid, class_weight=[1.0, 4.0])(pred, target)


def test_reg_loss_by_numbers_of_pixels():
    pred, target = batch(channels=2)
    loss = build("REGLoss", class_counts=[30, 10])
    torch.testing.assert_close(loss(pred, target), losses.REGLoss(alpha=[4 / 3, 4.0])(pred, target))


def test_ignored_pixels_do_not_dilute_reg_loss():
    for channels, use_sigmoid in ((1, True), (3, True), (3, False)):
        pred, target = batch(channels)
        padded = torch.nn.functional.pad(pred, (0, 5))
        labels = torch.nn.functional.pad(target, (0, 5), value=255)
        loss = build("REGLoss", use_sigmoid=use_sigmoid)
        torch.testing.assert_close(loss(padded, labels), loss(pred, target))
        for override in ("sum", "none"):
            whole, part = (
                loss(*both, reduction_override=override).sum()
                for both in ((padded, labels), (pred, target))
            )
            torch.testing.assert_close(whole, part)
        torch.testing.assert_close(
            loss(padded, labels, avg_factor=10), loss(pred, target, avg_factor=10)
        )
        assert loss(padded, torch.full_like(labels, 255)) == 0
    # What is of no class counts as ignored with softmax, and as background with sigmoid.
    of_no_class = torch.where(labels == 255, 7, labels)
    torch.testing.assert_close(loss(padded, of_no_class), loss(pred, target))
    sigmoid = build("REGLoss")
    torch.testing.assert_close(sigmoid(padded, of_no_class), losses.REGLoss()(padded, of_no_class))


def test_ranking_over_the_batch_and_per_image():
    pred, target = batch(ignored=True)
    targets = torch.where(target == 255, -1, target).float()
    rank = [
        ops.average_precision_loss(p.flatten(), t.flatten())
        for p, t in zip(pred, targets, strict=True)
    ]
    whole = ops.average_precision_loss(pred.flatten(), targets.flatten())
    torch.testing.assert_close(build("APLoss")(pred, target), whole)
    per_image = build("APLoss", per_image=True)
    torch.testing.assert_close(per_image(pred, target), sum(rank) / 2)
    target[1] = 0  # an image without foreground has no part in the mean
    torch.testing.assert_close(per_image(pred, target), rank[0])
    target[:] = 0
    loss = per_image(pred, target)
    loss.backward()
    assert loss == 0


def test_rank_sort_by_depth_and_by_overlap():
    pred, target = batch(size=(9, 9))
    target[:] = 0
    target[:, 2:7, 3:6] = 1
    masks = target[:, None].float()
    for labels in (depth_labels(masks, 2), masks * overlap_labels(pred.sigmoid(), masks, 2)):
        kind = "depth" if labels.unique().numel() == 3 else "overlap"
        expected = sum(ops.rank_sort_loss(pred.flatten(), labels.detach().flatten()))
        loss = build("RankSortLoss", labels=kind, radius=2)
        torch.testing.assert_close(loss(pred, target), expected)


def test_ignored_pixels_are_no_background_for_the_depth():
    pred = torch.randn(1, 1, 9, 8, generator=torch.Generator().manual_seed(0))
    target = torch.ones(1, 9, 8, dtype=torch.long)
    target[:, :, 0] = 0
    padded = torch.nn.functional.pad(pred, (0, 4))
    labels = torch.nn.functional.pad(target, (0, 4), value=255)
    loss = build("RankSortLoss", labels="depth", radius=4)
    masks = (labels == 1).float()[:, None]
    depths, _ = loss.targets_and_errors(padded, masks, (labels != 255)[:, None])
    assert depths[0, 0, 4].tolist() == [0, 0.25, 0.5, 0.75, 1, 1, 1, 1, 0, 0, 0, 0]
    torch.testing.assert_close(loss(padded, labels), loss(pred, target))


def test_alrp_trains_overlap_as_its_localisation():
    pred, target = batch()
    masks = target[:, None].float()
    overlap = overlap_labels(pred.sigmoid(), masks, 3)
    parts = ops.average_lrp_loss(
        pred.flatten(), (masks * overlap).detach().flatten(), 1 - overlap[masks > 0]
    )
    loss = build("aLRPLoss", labels="overlap", radius=3)
    torch.testing.assert_close(loss(pred, target), sum(parts))
    alone = build("aLRPLoss")
    torch.testing.assert_close(
        alone(pred, target),
        ops.average_precision_loss(pred.flatten(), masks.flatten(), interpolated=False),
    )


def test_labels_by_hand():
    mask = torch.zeros(1, 1, 5, 7)
    mask[..., 1:4, 1:6] = 1
    rows = depth_labels(mask, 3)[0, 0] * 3
    assert rows[1].tolist() == [0, 1, 1, 1, 1, 1, 0]
    assert rows[2].tolist() == [0, 1, 2, 2, 2, 1, 0]
    probs = torch.zeros(1, 1, 5, 7)
    probs[..., 2, 3] = 1
    overlap = overlap_labels(probs, mask, 1)[0, 0]
    assert overlap[2, 3].item() == pytest.approx(1 / 9)
    assert overlap[1, 1] == 0
    assert overlap[0, 0] == 0
    assert overlap_labels(mask, mask, 1)[mask > 0].eq(1).all()


def test_subsample_of_positives():
    targets = torch.cat([torch.ones(40), torch.zeros(200), -torch.ones(7)])
    kept = sample_pixels(targets, 10)
    assert kept[:40].sum() == 10
    assert kept[40:240].sum() == 50
    assert not kept[240:].any()
    assert sample_pixels(targets, 40)[:240].all()
    # The mean over draws comes near to the loss of all.
    logits = torch.randn(247)
    torch.manual_seed(0)
    draws = [
        ops.average_precision_loss(logits, targets.masked_fill(~sample_pixels(targets, 20), -1))
        for _ in range(200)
    ]
    whole = ops.average_precision_loss(logits, targets)
    assert abs(torch.stack(draws).mean() - whole) < 0.05
    pred, target = batch(size=(20, 20))
    torch.manual_seed(0)
    first = build("RankSortLoss", max_positives=30)(pred, target)
    torch.manual_seed(0)
    assert build("RankSortLoss", max_positives=30)(pred, target) == first
    assert build("RankSortLoss")(pred, target) != first
    # The pixels that were not drawn are ignored.
    torch.manual_seed(0)
    flat = target.flatten().float()
    flat[~sample_pixels(flat, 30)] = -1
    assert (flat > 0).sum() == 30
    expected = sum(ops.rank_sort_loss(pred.flatten(), flat))
    torch.testing.assert_close(first, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", PIXEL_LOSSES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision(name, dtype):
    pred, target = batch(size=(16, 16))
    low = pred.detach().to(dtype).requires_grad_()
    loss = build(name)(low, target)
    loss.backward()
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, build(name)(low.detach().float(), target))
    assert low.grad.isfinite().all()


@pytest.mark.parametrize("name", PIXEL_LOSSES)
def test_data_without_foreground_trains_to_zeros(name):
    pred = torch.full((1, 1, 8, 8), 2.0, requires_grad=True)
    target = torch.zeros(1, 8, 8, dtype=torch.long)
    optimizer = torch.optim.Adam([pred], lr=0.5)
    for _ in range(40):
        optimizer.zero_grad()
        build(name)(pred, target).backward()
        assert pred.grad.isfinite().all()
        optimizer.step()
    if name in RANKING_NAMES:  # nothing to rank above anything
        assert (pred == 2).all()
    else:
        assert (pred < 0).all()


def test_mistakes():
    pred, target = batch()
    with pytest.raises(ValueError, match=r"labels of shape \(2, 6, 5\)"):
        build("BCEDiceLoss")(pred, target[:, :5])
    with pytest.raises(ValueError, match="class_weight of 2 numbers for 1 output channel"):
        build("BCEDiceLoss", class_weight=[1, 2, 3])(pred, target)
    with pytest.raises(ValueError, match="class_weight of at least 0"):
        build("BCEDiceLoss", class_weight=[1, -2])
    with pytest.raises(ValueError, match="give the number of pixels of each output channel"):
        build("REGLoss", class_counts="auto")
    with pytest.raises(ValueError, match="a rank cannot be weighed"):
        build("APLoss", class_weight=[1, 2])
    with pytest.raises(ValueError, match="labels 'mask', 'depth' or 'overlap'"):
        build("RankSortLoss", labels="iou")
    for name, labels in (("APLoss", "overlap"), ("APLoss", "depth"), ("aLRPLoss", "depth")):
        with pytest.raises(ValueError, match="would change nothing"):
            build(name, labels=labels)
    with pytest.raises(
        ValueError, match="Expected per_image=False with sync=True for RankSortLoss"
    ):
        build("RankSortLoss", sync=True, per_image=True)
    with pytest.raises(ValueError, match="Expected max_positives=None with sync=True for APLoss"):
        build("APLoss", sync=True, max_positives=30)
    with pytest.raises(ValueError, match="max_positives of at least 1"):
        build("APLoss", max_positives=0)
    with pytest.raises(ValueError, match="mean over the positives"):
        build("APLoss")(pred, target, reduction_override="none")
    logits, masks = random_masks((1, 1, 3, 3))
    with pytest.raises(ValueError, match="depth of at least 1"):
        depth_labels(masks, 0)
    with pytest.raises(ValueError, match="shape of the probabilities"):
        overlap_labels(logits, masks[0])
