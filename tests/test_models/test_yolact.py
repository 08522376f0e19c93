"""RS-YOLACT's own: labels, positives, masks, and what its heads refuse."""

import pytest
import torch
from dense_heads import LOSSES
from instance_segmentors import SEGMENTORS, backward, build_segmentor
from mmdet.registry import MODELS
from mmengine.structures import InstanceData
from synthetic import make_batch, make_sample

KEYS = {
    "yolact": {"loss_cls", "loss_bbox", "balance_bbox", "loss_mask", "balance_mask", "num_pos"},
    "solov2": {"loss_cls", "loss_mask", "balance_mask", "num_pos"},
}

every_segmentor = pytest.mark.parametrize("name", SEGMENTORS)
every_loss = pytest.mark.parametrize("loss", LOSSES)


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

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_masks_are_probabilities_of_full_precision(self, dtype):
        head = build_segmentor("yolact").mask_head
        # A map of ones by a coefficient is a mask with this logit in each pixel.
        head.protonet = torch.nn.Identity()
        prototypes = torch.zeros(1, 6, 4, 5)
        prototypes[:, 0] = 1
        coeffs = torch.zeros(2, 6, requires_grad=True)
        with torch.no_grad():
            coeffs[:, 0] = torch.tensor([9.0, -3.0])
        with torch.autocast("cpu", dtype):
            (masks,), _ = head((prototypes.to(dtype),), [InstanceData(coeffs=coeffs)])
        assert masks.dtype == torch.float32
        torch.testing.assert_close(masks[0, 0], torch.tensor([9.0, -3.0]).sigmoid())
        (gradient,) = torch.autograd.grad(masks.sum(), coeffs)
        p = torch.tensor([9.0, -3.0]).sigmoid()
        torch.testing.assert_close(gradient[:, 0], 20 * p * (1 - p), rtol=1e-3, atol=0)

    def test_mistakes(self):
        head = SEGMENTORS["yolact"]["bbox_head"] | dict(num_classes=3)
        with pytest.raises(ValueError, match="with instance_weight='iou' in RankYOLACTHead"):
            MODELS.build(head | dict(label="binary", criterion=dict(instance_weight="iou")))
        with pytest.raises(ValueError, match="but got 'giou'"):
            MODELS.build(head | dict(label="giou"))
        with pytest.raises(ValueError, match="has no continuous labels; remove label"):
            MODELS.build(head | dict(label="dice", loss_cls=dict(type="APLoss")))
        model = build_segmentor("yolact", num_classes=3, max_masks_to_train=100)
        model.bbox_head.label = "dice"
        with pytest.raises(ValueError, match="Expected max_masks_to_train=None"):
            model.loss(*make_batch((1, 1), 3, masks=True))
