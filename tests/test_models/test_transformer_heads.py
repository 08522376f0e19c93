"""Transformer detectors whose classification is trained by a ranking loss."""

import pytest
import torch
from mmdet.models.dense_heads import DeformableDETRHead, DINOHead
from mmdet.structures.bbox import bbox_overlaps
from processes import spawn
from synthetic import make_batch, make_sample
from transformer_detectors import DETECTORS, build_detector, train_in_process

from configs import predict
from mmdet_rank.criteria.localization import box_errors
from mmdet_rank.criteria.problem import BoxTask
from mmdet_rank.losses import RankSortLoss

every_detector = pytest.mark.parametrize("name", DETECTORS)
every_loss = pytest.mark.parametrize("loss", ["RankSortLoss", "aLRPLoss", "APLoss"])
LOSSES = {"loss_cls", "loss_bbox", "loss_iou"}
LOGGED = {"balance_bbox", "num_pos"}


#: Heights and widths of two images, and the boxes of their objects.
SHAPES = [(64, 40), (48, 64)]
OBJECTS = [[[3.0, 6, 21, 44], [14, 28, 38, 61]], [[9.0, 12, 59, 43]]]


def make_uneven_batch():
    """Images that are padded to one size, the first at its right side, the other below."""
    classes = [[0, 3], [2]]
    samples = [make_sample(*sample) for sample in zip(OBJECTS, classes, SHAPES, strict=True)]
    for sample in samples:
        sample.set_metainfo(dict(batch_input_shape=(64, 64), pad_shape=(64, 64)))
    gen = torch.Generator().manual_seed(0)
    images = torch.zeros(2, 3, 64, 64)
    for image, (height, width) in zip(images, SHAPES, strict=True):
        image[:, :height, :width] = torch.randn(3, height, width, generator=gen)
    return images, samples


def sizes_of_images(problem):
    """Width, height, width and height of the image of each positive."""
    image = problem.positives // (len(problem.logits) // len(SHAPES))
    return torch.tensor([[width, height] * 2 for height, width in SHAPES])[image]


def losses_of(model, images, samples):
    losses = model.loss(images, samples)
    total, _ = model.parse_losses(losses)
    total.backward()
    return losses


def expected_keys(name, loss):
    # Each layer has a balance of its own.
    of_layer = LOSSES | {"balance_bbox"}
    keys = LOSSES | LOGGED | {f"d0.{key}" for key in of_layer}
    if name != "deformable_detr":
        keys |= {f"enc_{key}" for key in of_layer}
    if name == "dino":
        keys |= {f"{prefix}dn_{key}" for prefix in ("", "d0.") for key in of_layer}
    return keys | ({"ranking", "sorting"} if loss == "RankSortLoss" else set())


@every_detector
@every_loss
@pytest.mark.parametrize(("num_classes", "num_objects"), [(1, (2, 0)), (4, (2, 1)), (4, (0, 0))])
def test_loss_and_gradients(name, loss, num_classes, num_objects):
    torch.manual_seed(0)
    model = build_detector(name, loss, num_classes)
    losses = losses_of(model, *make_batch(num_objects, num_classes))
    assert set(losses) == expected_keys(name, loss)
    assert all(torch.isfinite(value) for value in losses.values())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert losses["num_pos"] == sum(num_objects)
    for key, value in losses.items():
        if "loss" in key:
            assert (value > 0) == (sum(num_objects) > 0), key


@every_detector
def test_scores_instead_of_ranks(name):
    """The row of Table 8.4 with quality focal loss, in the same head."""
    torch.manual_seed(0)
    criterion = dict(type="ScoreCriterion", instance_weight="score")
    model = build_detector(name, "QualityFocalLoss", criterion=criterion)
    losses = losses_of(model, *make_batch((2, 1), 4))
    assert all(losses[key] > 0 for key in losses if "loss" in key)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def problems_of(model, images, samples):
    """The ranking problems of one iteration, by the name of their criterion."""
    seen = {}
    for name, part in model.bbox_head.named_modules():
        if name.rpartition(".")[0] in ("criteria", "dn_criteria"):
            part.register_forward_pre_hook(lambda _, args, key=name: seen.update({key: args[0]}))
    return model.loss(images, samples), seen


@every_detector
def test_every_layer_ranks_the_whole_batch(name):
    torch.manual_seed(0)
    model = build_detector(name)
    images, samples = make_uneven_batch()
    losses, problems = problems_of(model, images, samples)
    shapes = {"criteria.0": (40, 4), "criteria.1": (40, 4)}
    if name == "deformable_detr_two_stage":
        shapes["criteria.2"] = (2 * (8 * 8 + 4 * 4), 1)
    if name == "dino":
        shapes["criteria.2"] = (40, 4)
        # Groups of up to 8 // 2 = 4, each twice the greater number of objects.
        shapes |= {"dn_criteria.0": (2 * 4 * 2 * 2, 4), "dn_criteria.1": (2 * 4 * 2 * 2, 4)}
    assert {key: tuple(problem.logits.shape) for key, problem in problems.items()} == shapes
    objects = torch.cat([sample.gt_instances.bboxes for sample in samples])
    classes = torch.cat([sample.gt_instances.labels for sample in samples])
    for key, problem in problems.items():
        groups = 4 if key.startswith("dn") else 1
        assert problem.num_positives == 3 * groups
        gaps, nearest = torch.cdist(problem.boxes.gt_boxes, objects).min(dim=1)
        assert gaps.max() < 1e-3
        one_class = problem.logits.shape[1] == 1
        expected = torch.zeros_like(nearest) if one_class else classes[nearest]
        assert torch.equal(problem.labels[problem.positives], expected)
        quality = bbox_overlaps(problem.boxes.boxes, objects[nearest], is_aligned=True)
        torch.testing.assert_close(problem.quality, quality.detach(), rtol=1e-4, atol=1e-5)
    # The loss of the last layer is RS Loss of its queries.
    problem = problems["criteria.1"]
    quality = torch.zeros(40)
    quality[problem.positives] = problem.quality
    expected = RankSortLoss()(problem.logits, (problem.labels, quality))
    torch.testing.assert_close(losses["loss_cls"], expected)
    torch.testing.assert_close(losses["loss_iou"], expected)


@every_detector
def test_positives_aim_at_their_objects(name):
    torch.manual_seed(0)
    model = build_detector(name)
    images, samples = make_uneven_batch()
    _, problems = problems_of(model, images, samples)
    objects = torch.cat([sample.gt_instances.bboxes for sample in samples])
    for problem in problems.values():
        boxes = problem.boxes
        gaps, nearest = torch.cdist(boxes.gt_boxes, objects, p=torch.inf).min(dim=1)
        assert gaps.max() < 1e-3
        assert set(nearest.tolist()) == {0, 1, 2}
        assert boxes.pred is boxes.boxes
        assert boxes.target is boxes.gt_boxes
        # The first image has two objects.
        factors = sizes_of_images(problem)
        assert torch.equal(factors[:, 0] == 40, nearest < 2)
        # Boxes are those of the branch: (cx, cy, w, h) as shares of their image.
        centers, sizes = (boxes.outputs * factors).split(2, dim=1)
        expected = torch.cat([centers - sizes / 2, centers + sizes / 2], dim=1)
        torch.testing.assert_close(boxes.boxes, expected)


def test_l1_and_iou_keep_their_ratio():
    torch.manual_seed(0)
    model = build_detector("deformable_detr")
    losses, problems = problems_of(model, *make_uneven_batch())
    boxes = problems["criteria.1"].boxes
    weights = problems["criteria.1"].positive_logits().sigmoid().amax(dim=1)
    weights = weights / weights.sum()
    iou = (box_errors(model.bbox_head.loss_iou, boxes.pred, boxes.target) * weights).sum()
    shares = (boxes.boxes - boxes.gt_boxes) / sizes_of_images(problems["criteria.1"])
    centers, sizes = (shares[:, :2] + shares[:, 2:]) / 2, shares[:, 2:] - shares[:, :2]
    l1 = 5 * (torch.cat([centers, sizes], dim=1).abs().sum(dim=1) * weights).sum()
    torch.testing.assert_close(losses["loss_bbox"] / losses["loss_iou"], l1 / iou)


@pytest.mark.parametrize(
    ("name", "stock"), [("deformable_detr", DeformableDETRHead), ("dino", DINOHead)]
)
def test_matching_is_that_of_the_stock_head(name, stock):
    torch.manual_seed(0)
    model = build_detector(name)
    head = model.bbox_head
    assert isinstance(head, stock)
    assert type(head).get_targets is stock.get_targets
    assert type(head).predict_by_feat is stock.predict_by_feat
    names = {key.split(".")[0] for key, _ in head.named_parameters()}
    assert names == {"cls_branches", "reg_branches"}


@pytest.mark.parametrize(
    ("name", "loss"),
    [
        ("deformable_detr", "RankSortLoss"),
        ("deformable_detr", "aLRPLoss"),
        ("deformable_detr", "APLoss"),
        ("dino", "RankSortLoss"),
    ],
)
def test_a_small_batch_is_overfitted(name, loss):
    torch.manual_seed(0)
    model = build_detector(name, loss, num_classes=2)
    images = torch.full((2, 3, 64, 64), 60.0)
    samples = [
        make_sample([[4, 4, 24, 28], [30, 30, 60, 58]], [0, 1]),
        make_sample([[10, 30, 34, 50]], [1]),
    ]
    for image, sample in zip(images, samples, strict=True):
        for (x1, y1, x2, y2), label in zip(
            sample.gt_instances.bboxes.int().tolist(), sample.gt_instances.labels, strict=True
        ):
            image[label, y1:y2, x1:x2] = 250.0
    images = (images - 128) / 64
    wide = model.embed_dims >= 256
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4 if wide else 3e-3)
    for _ in range(100):
        optimizer.zero_grad()
        losses_of(model, images, samples)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    assert model.loss(images, samples)["loss_cls"] < 0.2
    with torch.no_grad():
        results = model.eval().predict(images, samples)
    for result, sample in zip(results, samples, strict=True):
        truth = sample.gt_instances
        best = result.pred_instances[: len(truth)]
        assert sorted(best.labels.tolist()) == sorted(truth.labels.tolist())


@every_detector
def test_autocast(name):
    torch.manual_seed(0)
    model = build_detector(name)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = model.loss(*make_batch((2, 0)))
    total, _ = model.parse_losses(losses)
    total.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())
    assert losses["num_pos"] == 2


@every_detector
def test_prediction(name):
    torch.manual_seed(0)
    (sample,) = predict(build_detector(name), size=64)
    result = sample.pred_instances
    assert result.bboxes.shape == (10, 4)
    assert ((result.scores > 0) & (result.scores < 1)).all()
    assert ((result.labels >= 0) & (result.labels < 4)).all()


@every_detector
def test_missed_objects_keep_their_positives(name, monkeypatch):
    monkeypatch.setattr(BoxTask, "iou", lambda self: self.boxes.new_zeros(len(self.boxes)))
    torch.manual_seed(0)
    losses = losses_of(build_detector(name), *make_batch((2, 1)))
    assert losses["num_pos"] == 3
    assert losses["loss_cls"] > 0.3


def test_a_process_without_objects(tmp_path):
    spawn(train_in_process, (tmp_path / "store",), 2)
