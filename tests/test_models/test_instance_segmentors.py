"""Duties of the one-stage instance segmentors, with every ranking loss."""

import numpy as np
import pytest
import torch
from dense_heads import LOSSES
from instance_segmentors import SEGMENTORS, backward, build_segmentor
from mmdet.structures.mask import BitmapMasks
from synthetic import make_batch, make_sample

KEYS = {
    "yolact": {"loss_cls", "loss_bbox", "balance_bbox", "loss_mask", "balance_mask", "num_pos"},
    "solov2": {"loss_cls", "loss_mask", "balance_mask", "num_pos"},
}

every_segmentor = pytest.mark.parametrize("name", SEGMENTORS)
every_loss = pytest.mark.parametrize("loss", LOSSES)


@every_segmentor
@every_loss
@pytest.mark.parametrize("num_classes", [1, 4])
def test_loss_and_gradients(name, loss, num_classes):
    torch.manual_seed(0)
    model = build_segmentor(name, loss, num_classes)
    parts = {"ranking", "sorting"} if loss == "RankSortLoss" else set()
    for num_objects in [(2, 1), (2, 0), (0, 0)]:
        images, samples = make_batch(num_objects, num_classes, masks=True)
        losses = backward(model, images, samples)
        assert set(losses) == KEYS[name] | parts
        assert all(torch.isfinite(value) for value in losses.values())
        unused = [key for key, p in model.named_parameters() if p.grad is None]
        assert unused == []
        values = [losses[key] for key in losses if "loss" in key]
        if sum(num_objects):
            assert losses["num_pos"] > 0
            assert all(value > 0 for value in values)
        else:
            assert losses["num_pos"] == 0
            assert all(value == 0 for value in values)
            assert all((p.grad == 0).all() for p in model.parameters())


@every_segmentor
@every_loss
def test_a_missed_object_keeps_its_positives(name, loss):
    # No prediction overlaps its object: labels are tiny, and still positives.
    torch.manual_seed(0)
    model = build_segmentor(name, loss)
    head = model.bbox_head if name == "yolact" else model.mask_head
    seen = {}

    def miss(criterion, arguments):
        seen.update(problem=arguments[0], criterion=criterion)
        seen["problem"].quality = torch.zeros(arguments[0].num_positives)

    head.criterion.register_forward_pre_hook(miss)
    losses = backward(model, *make_batch((2, 1), masks=True))
    targets = seen["criterion"].targets(seen["problem"])
    assert losses["num_pos"] == (targets > 0).sum() > 0
    assert losses["loss_cls"] > 0.3
    assert all(p.grad.isfinite().all() for p in model.parameters())


@every_segmentor
def test_the_mask_loss_has_the_value_of_the_classification_loss(name):
    torch.manual_seed(0)
    model = build_segmentor(name)
    images, samples = make_batch((2, 1), masks=True)
    losses = model.loss(images, samples)
    torch.testing.assert_close(losses["loss_mask"], losses["loss_cls"])


@every_segmentor
def test_the_mask_loss_counts_by_its_weight_where_it_is_not_balanced(name):
    images, samples = make_batch((2, 1), masks=True)
    losses = []
    for weight in (1.0, 3.0):
        torch.manual_seed(0)
        loss_mask = dict(type="DiceLoss", use_sigmoid=name == "solov2", loss_weight=weight)
        losses.append(build_segmentor(name, "APLoss", loss_mask=loss_mask).loss(images, samples))
    once, thrice = losses
    torch.testing.assert_close(thrice["loss_cls"], once["loss_cls"])
    torch.testing.assert_close(thrice["loss_mask"], 3 * once["loss_mask"])


def overfit(model, images, samples, iterations):
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(iterations):
        losses = backward(model, images, samples)
        optimizer.step()
    return losses


def round_objects():
    """Two images of discs whose brightness tells the class."""
    yy, xx = np.mgrid[:64, :64]
    images, samples = torch.zeros(2, 3, 64, 64), []
    layout = [[(20, 20, 12, 0), (46, 44, 15, 1)], [(30, 34, 16, 1)]]
    for image, objects in zip(images, layout, strict=True):
        masks = np.stack([((xx - x) ** 2 + (yy - y) ** 2 <= r * r) for x, y, r, _ in objects])
        boxes = [[x - r, y - r, x + r + 1, y + r + 1] for x, y, r, _ in objects]
        sample = make_sample(boxes, [label for *_, label in objects])
        sample.gt_instances.masks = BitmapMasks(masks.astype(np.uint8), 64, 64)
        for mask, (*_, label) in zip(masks, objects, strict=True):
            image[:, torch.from_numpy(mask)] = 1.0 if label else -1.0
        samples.append(sample)
    return images, samples


@every_segmentor
def test_a_small_batch_is_overfitted(name):
    torch.manual_seed(0)
    images, samples = round_objects()
    model = build_segmentor(name, num_classes=2)
    truths = [
        (sample.gt_instances.labels, torch.from_numpy(sample.gt_instances.masks.masks).bool())
        for sample in samples
    ]
    losses = overfit(model, images, samples, 100)
    assert losses["loss_cls"] < 0.05
    with torch.no_grad():
        results = model.eval().predict(images, samples)
    for result, (labels, masks) in zip(results, truths, strict=True):
        best = result.pred_instances[: len(labels)]
        assert sorted(best.labels.tolist()) == sorted(labels.tolist())
        for label, mask in zip(labels, masks, strict=True):
            found = best.masks[best.labels == label][0]
            assert ((found & mask).sum() / (found | mask).sum()) > 0.7


@every_segmentor
def test_masks_are_trained_when_alrp_needs_no_more_classification(name):
    # The classification part of aLRP Loss reaches 0 long before the masks are good: they must not
    # be balanced by it, but by epoch.
    torch.manual_seed(0)
    images, samples = round_objects()
    model = build_segmentor(name, "aLRPLoss", num_classes=2)
    losses = overfit(model, images, samples, 50)
    assert losses["loss_cls"] < 0.05
    assert 0.9 < losses["balance_mask"] < 3
    assert losses["loss_mask"] / losses["balance_mask"] < 0.15


@every_segmentor
def test_autocast(name):
    torch.manual_seed(0)
    model = build_segmentor(name).eval()  # Statistics of batch normalisation stay as they are.
    images, samples = make_batch((2, 0), masks=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = backward(model, images, samples)
    assert all(p.grad.isfinite().all() for p in model.parameters())
    exact = model.loss(images, samples)
    assert losses["num_pos"] == exact["num_pos"]
    for key in ("loss_cls", "loss_mask"):
        torch.testing.assert_close(losses[key].float(), exact[key], rtol=0.05, atol=0.01)


@every_segmentor
@pytest.mark.parametrize("score_thr", [0.0, 1.0])
def test_prediction_in_the_size_of_the_original_image(name, score_thr):
    # An image that was resized to another aspect and padded at its right side.
    torch.manual_seed(0)
    model = build_segmentor(name).eval()
    config = model.mask_head.test_cfg
    config.score_thr = score_thr
    if name == "yolact":
        model.bbox_head.test_cfg.score_thr = score_thr
    images, (sample,) = make_batch((0,), masks=True)
    sample.set_metainfo(
        dict(img_shape=(64, 40), ori_shape=(32, 80), scale_factor=(0.5, 2.0),
             batch_input_shape=(64, 64))
    )  # fmt: skip
    with torch.no_grad():
        found = model.predict(images, [sample])[0].pred_instances
        kept = model.predict(images, [sample], rescale=False)[0].pred_instances
    assert found.masks.shape == (len(found), 32, 80)
    assert kept.masks.shape == (len(found), 64, 40)
    assert found.masks.dtype == torch.bool
    assert found.labels.dtype == torch.int64
    assert len(found) == 0 if score_thr else len(found) > 0


class TestSOLOv2:
    def test_the_labels_are_dice_coefficients(self):
        torch.manual_seed(0)
        model = build_segmentor("solov2", num_classes=2)
        images, samples = make_batch((1, 2), 2, size=(64, 96), masks=True)
        seen = {}
        criterion = model.mask_head.criterion
        del model.mask_head._modules["criterion"]
        model.mask_head.criterion = lambda problem: (
            seen.update(problem=problem) or criterion(problem)
        )
        losses = model.loss(images, samples)
        problem = seen["problem"]
        kernels, _, features = model.mask_head(model.extract_feat(images))
        assert features.shape[-2:] == (16, 24)
        expected = []
        for level in range(4):
            for index, sample in enumerate(samples):
                masks, _, _, cells = model.mask_head._get_targets_single(
                    sample.gt_instances, features.shape[-2:]
                )
                for mask, cell in zip(masks[level].double(), cells[level], strict=True):
                    kernel = kernels[level][index].flatten(1)[:, cell]
                    pred = (kernel[:, None, None] * features[index]).sum(0).sigmoid().double()
                    squares = pred.square().sum() + 1e-3 + mask.square().sum() + 1e-3
                    expected.append(2 * (pred * mask).sum() / squares)
        expected = torch.stack(expected)
        assert losses["num_pos"] == len(expected) > 3
        torch.testing.assert_close(problem.quality.double(), expected, rtol=1e-4, atol=1e-5)
        targets = criterion.targets(problem)
        torch.testing.assert_close(targets[targets > 0].double(), expected, rtol=1e-4, atol=1e-5)

    def test_a_cell_of_two_objects_belongs_to_the_first(self):
        model = build_segmentor("solov2", num_classes=2)
        masks = np.zeros((2, 64, 64), dtype=np.uint8)
        masks[0, 16:48, 16:48] = 1
        masks[1, 20:44, 20:44] = 1
        sample = make_sample([[16, 16, 48, 48], [20, 20, 44, 44]], [0, 1])
        sample.gt_instances.masks = BitmapMasks(masks, 64, 64)
        targets, labels, flags, cells = model.mask_head._get_targets_single(
            sample.gt_instances, (16, 16)
        )
        for level in range(4):
            assert cells[level] == flags[level].nonzero().flatten().tolist()
            assert len(targets[level]) == len(cells[level])
        # Both objects fall to level 2 (16 to 48), where they have the same centre.
        assert len(cells[2]) > 0
        assert set(labels[2].flatten()[cells[2]].tolist()) == {0}
        assert (targets[2].sum((1, 2)) == 64).all()

    def test_maps_that_do_not_halve_are_refused(self):
        model = build_segmentor("solov2")
        with pytest.raises(ValueError, match="pad_size_divisor=32"):
            model(torch.randn(1, 3, 72, 72), mode="tensor")

    def test_options_that_would_not_work_are_refused(self):
        with pytest.raises(ValueError, match="dynamic_conv_size"):
            build_segmentor("solov2", dynamic_conv_size=3)
        with pytest.raises(ValueError, match="DiceLoss"):
            build_segmentor("solov2", loss_mask=dict(type="FocalLoss"))
        with pytest.raises(ValueError, match="loss_weight above 0 of loss_mask"):
            build_segmentor("solov2", loss_mask=dict(type="DiceLoss", loss_weight=0.0))
