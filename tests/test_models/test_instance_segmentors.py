"""What is owed of the one-stage instance segmentors, with every ranking loss."""

import numpy as np
import pytest
import torch
from dense_heads import LOSSES
from instance_segmentors import SEGMENTORS, build_segmentor
from mmdet.registry import MODELS
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData
from synthetic import make_batch, make_sample

KEYS = {
    "yolact": {"loss_cls", "loss_bbox", "balance_bbox", "loss_mask", "balance_mask", "num_pos"},
    "solov2": {"loss_cls", "loss_mask", "balance_mask", "num_pos"},
}

every_segmentor = pytest.mark.parametrize("name", SEGMENTORS)
every_loss = pytest.mark.parametrize("loss", LOSSES)


def backward(model, images, samples):
    model.zero_grad()
    losses = model.loss(images, samples)
    model.parse_losses(losses)[0].backward()
    return losses


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


class TestYOLACT:
    def test_nothing_of_the_semantic_branch_is_left(self):
        model = build_segmentor("yolact")
        assert not [key for key, _ in model.named_parameters() if "seg" in key]
        with pytest.raises(ValueError, match="no with_seg_branch"):
            build_segmentor("yolact", with_seg_branch=True)
        with pytest.raises(ValueError, match="no loss_mask_weight"):
            build_segmentor("yolact", loss_mask_weight=6.125)
        with pytest.raises(ValueError, match="DiceLoss"):
            build_segmentor("yolact", loss_mask=dict(type="MSELoss"))
        build_segmentor("yolact", with_seg_branch=False, loss_segm=None, loss_mask_weight=None)

    def test_a_stock_box_head_is_refused(self):
        model = build_segmentor("yolact")
        images, samples = make_batch((1, 1), masks=True)
        features = model.extract_feat(images)
        with pytest.raises(TypeError, match="RankYOLACTHead"):
            model.mask_head.loss(features, samples, positive_infos=[])

    def test_positives_come_with_their_own_coefficients_and_weights(self):
        torch.manual_seed(0)
        model = build_segmentor("yolact", num_classes=3)
        images, samples = make_batch((1, 3), 3, masks=True)
        head = model.bbox_head
        features = model.extract_feat(images)
        logits, _, coeffs = head(features)
        head.loss(features, samples)
        positives = head.get_positive_infos()
        for index, own in enumerate(positives):
            flat = [level[index].permute(1, 2, 0) for level in coeffs]
            flat = torch.cat([level.reshape(-1, 6) for level in flat])
            scores = [level[index].permute(1, 2, 0) for level in logits]
            scores = torch.cat([level.reshape(-1, 3) for level in scores]).sigmoid().amax(1)
            assert len(own.pos_inds) > 0
            torch.testing.assert_close(own.coeffs, flat[own.pos_inds])
            torch.testing.assert_close(own.weights, scores[own.pos_inds])
        assert len(positives[0].weights) != len(positives[1].weights)

    def test_images_with_positives_on_two_levels_keep_their_own(self):
        # Anchors have sides of 12, 24, 48 and 96 pixels on levels of 16, 8, 4 and 2 places a side,
        # 3 at each. The problem goes level by level: image 0, image 1, image 0, image 1.
        torch.manual_seed(0)
        model = build_segmentor("yolact", num_classes=3)
        samples = [
            make_sample([[2, 2, 14, 14], [10, 12, 58, 60]], [0, 2], masks=True),
            make_sample([[40, 6, 52, 18], [6, 40, 18, 52], [8, 4, 56, 52]], [1, 0, 2], masks=True),
        ]
        head, features = model.bbox_head, model.extract_feat(torch.randn(2, 3, 64, 64))
        logits, _, coeffs = head(features)
        head.loss(features, samples)
        first_level = 16 * 16 * 3
        for index, own in enumerate(head.get_positive_infos()):
            on_first = own.pos_inds < first_level
            assert 0 < on_first.sum() < len(on_first)
            # Small objects are on the first level, the last of each image is the large one.
            large = own.pos_assigned_gt_inds == len(samples[index].gt_instances) - 1
            assert torch.equal(large, ~on_first)
            expected = samples[index].gt_instances.bboxes[own.pos_assigned_gt_inds]
            assert torch.equal(own.bboxes, expected)
            rows = [level[index].permute(1, 2, 0).reshape(-1, 6) for level in coeffs]
            assert torch.equal(own.coeffs, torch.cat(rows)[own.pos_inds])
            rows = [level[index].permute(1, 2, 0).reshape(-1, 3) for level in logits]
            scores = torch.cat(rows).sigmoid().amax(1)
            assert torch.equal(own.weights, scores[own.pos_inds])

    def test_mask_loss_against_its_definition(self):
        torch.manual_seed(0)
        model = build_segmentor("yolact", criterion=dict(balance="constant"))
        images, samples = make_batch((2, 1), masks=True)
        features = model.extract_feat(images)
        model.bbox_head.loss(features, samples)
        positives = model.bbox_head.get_positive_infos()
        loss = model.mask_head.loss(features, samples, positive_infos=positives)["loss_mask"]
        prototypes = model.mask_head.protonet(features[0]).double()
        total, weight_sum = 0.0, 0.0
        stride = 64 / prototypes.shape[-1]
        for own, maps, sample in zip(positives, prototypes, samples, strict=True):
            masks = torch.from_numpy(sample.gt_instances.masks.masks.copy()).double()
            small = torch.nn.functional.interpolate(
                masks[None], maps.shape[-2:], mode="bilinear", align_corners=False
            )[0].gt(0.5)
            for coeffs, weight, target, box in zip(
                own.coeffs.double(), own.weights.double(), own.pos_assigned_gt_inds, own.bboxes,
                strict=True,
            ):  # fmt: skip
                mask = (coeffs[:, None, None] * maps).sum(0).sigmoid()
                grid = torch.arange(maps.shape[-1])
                x1, y1, x2, y2 = (box / stride).tolist()
                columns = (grid >= max(x1 - 1, 0)) & (grid < x2 + 1)
                rows = (grid >= max(y1 - 1, 0)) & (grid < y2 + 1)
                mask = mask * (rows[:, None] & columns[None])
                truth = small[target].double()
                dice = 2 * (mask * truth).sum() / (mask.square().sum() + truth.sum() + 1e-5)
                total += weight * (1 - dice)
                weight_sum += weight
        torch.testing.assert_close(loss.double(), total / weight_sum, rtol=1e-5, atol=1e-6)

    def test_boxes_are_cropped_in_the_padded_image(self):
        # The image fills the left 40 of 64 columns; the box ends with it.
        head = build_segmentor("yolact").mask_head
        meta = dict(img_shape=(64, 40), batch_input_shape=(64, 64))
        positives = InstanceData(bboxes=torch.tensor([[16.0, 32.0, 40.0, 48.0]]))
        (mask,) = head.crop_mask_preds([torch.ones(32, 32, 1)], [meta], [positives])[0]
        # Two pixels of the image to one of the mask, and one more on every side.
        rows, columns = mask.nonzero().unbind(1)
        assert (rows.min(), rows.max(), columns.min(), columns.max()) == (15, 24, 7, 20)

    def test_at_most_so_many_masks_of_an_image_are_trained(self):
        torch.manual_seed(0)
        model = build_segmentor("yolact", max_masks_to_train=3)
        images, samples = make_batch((3, 3), masks=True)
        features = model.extract_feat(images)
        model.bbox_head.loss(features, samples)
        positives = model.bbox_head.get_positive_infos()
        assert all(len(own.weights) > 3 for own in positives)
        chosen = [model.mask_head._choose(own) for own in positives]
        assert [len(own.weights) for own in chosen] == [3, 3]
        unlimited = build_segmentor("yolact", max_masks_to_train=None)
        assert all(unlimited.mask_head._choose(own) is own for own in positives)


class TestLabelsOfYOLACT:
    """Thesis Table P.3: what the classifier of RS-YOLACT learns as quality."""

    SAMPLES = (
        ([[2, 2, 14, 14], [10, 12, 58, 60]], [0, 2]),
        ([[40, 6, 52, 18], [6, 40, 18, 52], [8, 4, 56, 52]], [1, 0, 2]),
    )

    def losses(self, label, **options):
        """Losses of two images with positives on two levels, and the problem that was ranked."""
        torch.manual_seed(0)
        model = build_segmentor("yolact", num_classes=3, max_masks_to_train=None, **options)
        model.bbox_head.label = label
        seen = {}
        criterion = model.bbox_head.criterion
        rank, seen["criterion"] = criterion.forward, criterion
        criterion.forward = lambda problem: seen.update(problem=problem) or rank(problem)
        samples = [make_sample(*sample, masks=True) for sample in self.SAMPLES]
        images = torch.randn(2, 3, 64, 64)
        losses = model.loss(images, samples)
        return losses, seen["problem"], model, images, samples

    def test_binary_labels_leave_nothing_to_sort(self):
        losses, problem, *_ = self.losses("binary")
        assert problem.quality.tolist() == [1] * len(problem.positives)
        assert losses["sorting"] == 0
        assert losses["ranking"] > 0

    def test_mask_labels_are_the_dice_of_each_positives_own_mask(self):
        losses, problem, model, images, samples = self.losses("dice")
        # As stock, by box labels, where the order of the positives is known and tested.
        model.bbox_head.label = "iou"
        features = model.extract_feat(images)
        model.bbox_head.loss(features, samples)
        infos = model.bbox_head.get_positive_infos()
        preds, _ = model.mask_head(features, infos)
        metas = [sample.metainfo for sample in samples]
        by_place = {}
        num_anchors = [16 * 16 * 3, 8 * 8 * 3, 4 * 4 * 3, 2 * 2 * 3]
        for index, (own, masks) in enumerate(
            zip(infos, model.mask_head.crop_mask_preds(preds, metas, infos), strict=True)
        ):
            target = model.mask_head._get_targets_single(
                masks, None, samples[index].gt_instances, own
            )[1]
            both = 2 * (masks * target).sum((1, 2))
            size = masks.square().sum((1, 2)) + target.square().sum((1, 2))
            for anchor, dice in zip(own.pos_inds.tolist(), both / (size + 1e-5), strict=True):
                level = 0
                while anchor >= num_anchors[level]:
                    anchor -= num_anchors[level]
                    level += 1
                before = 2 * sum(num_anchors[:level]) + index * num_anchors[level]
                by_place[before + anchor] = dice
        expected = torch.stack([by_place[place] for place in problem.positives.tolist()])
        torch.testing.assert_close(problem.quality, expected.detach())
        assert set(losses) == KEYS["yolact"] | {"ranking", "sorting"}
        # Balanced by value: each task's loss is that of the ranking.
        torch.testing.assert_close(losses["loss_mask"], losses["loss_cls"])

    def test_the_mean_is_half_way(self):
        of = {label: self.losses(label)[1].quality for label in ("iou", "dice", "mean")}
        torch.testing.assert_close(of["mean"], (of["iou"] + of["dice"]) / 2)
        assert not torch.allclose(of["iou"], of["dice"])

    @pytest.mark.parametrize("label", ["dice", "mean"])
    def test_gradients_reach_every_part_also_without_objects(self, label):
        _, _, model, *_ = self.losses(label)
        for num_objects in [(2, 1), (0, 0)]:
            images, samples = make_batch(num_objects, 3, masks=True)
            losses = backward(model, images, samples)
            assert set(losses) == KEYS["yolact"] | {"ranking", "sorting"}
            assert [key for key, p in model.named_parameters() if p.grad is None] == []

    def test_mistakes(self):
        head = SEGMENTORS["yolact"]["bbox_head"] | dict(num_classes=3)
        with pytest.raises(ValueError, match="but got 'giou'"):
            MODELS.build(head | dict(label="giou"))
        with pytest.raises(ValueError, match="has no continuous labels; remove label"):
            MODELS.build(head | dict(label="dice", loss_cls=dict(type="APLoss")))
        model = build_segmentor("yolact", num_classes=3, max_masks_to_train=100)
        model.bbox_head.label = "dice"
        with pytest.raises(ValueError, match="Expected max_masks_to_train=None"):
            model.loss(*make_batch((1, 1), 3, masks=True))


class TestSOLOv2:
    def test_the_labels_are_dice_coefficients(self):
        torch.manual_seed(0)
        model = build_segmentor("solov2", num_classes=2)
        images, samples = make_batch((1, 2), 2, masks=True)
        seen = {}
        criterion = model.mask_head.criterion
        del model.mask_head._modules["criterion"]
        model.mask_head.criterion = lambda problem: (
            seen.update(problem=problem) or criterion(problem)
        )
        losses = model.loss(images, samples)
        problem = seen["problem"]
        kernels, _, features = model.mask_head(model.extract_feat(images))
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
