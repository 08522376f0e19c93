"""The ranking heads of YOLOv8 and RTMDet."""

import pytest
import torch
from dense_heads import LOSSES
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox_overlaps
from mmengine.config import ConfigDict
from mmengine.hub import get_config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from synthetic import check_objects_come_first, make_batch, make_features, make_sample
from yolov8 import HEADS, build_head

from configs import build_model, train_step, without_init_cfg

every_head = pytest.mark.parametrize("name", HEADS)
every_loss = pytest.mark.parametrize("loss", LOSSES)


def ranking(name, loss="RankSortLoss", num_classes=4, **options):
    if loss == "aLRPLoss":
        options.setdefault("criterion", dict(balance=dict(type="epoch", period=3)))
    return build_head(name, num_classes, loss_cls=dict(type=loss), **options)


def losses_of(head, features, samples):
    losses = head.loss(features, samples)
    sum(value for key, value in losses.items() if "loss" in key).backward()
    return losses


@every_head
@every_loss
@pytest.mark.parametrize("num_classes", [1, 4])
@pytest.mark.parametrize("num_objects", [(2, 1), (2, 0), (0, 0)])
def test_loss_and_gradients(name, loss, num_classes, num_objects):
    torch.manual_seed(0)
    head = ranking(name, loss, num_classes)
    _, samples = make_batch(num_objects, num_classes)
    losses = losses_of(head, make_features(2), samples)
    keys = {"loss_cls", "loss_bbox", "balance_bbox", "num_pos"}
    keys |= {"ranking", "sorting"} if loss == "RankSortLoss" else set()
    keys |= {"loss_dfl"} if name == "yolov8" else set()
    assert set(losses) == keys
    assert all(torch.isfinite(value) for value in losses.values())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())
    if sum(num_objects):
        assert losses["num_pos"] > 0
        assert losses["loss_cls"] > 0
        assert losses["loss_bbox"] > 0
    else:
        assert losses["num_pos"] == losses["loss_cls"] == losses["loss_bbox"] == 0
        assert all((p.grad == 0).all() for p in head.parameters())


@every_head
def test_positives_aim_at_their_objects(name):
    torch.manual_seed(0)
    head = ranking(name)
    seen = {}
    head.criterion.register_forward_pre_hook(lambda module, args: seen.update(problem=args[0]))
    _, samples = make_batch((2, 1))
    features = make_features(2)
    head.loss(features, samples)
    problem = seen["problem"]
    objects = torch.cat([sample.gt_instances.bboxes for sample in samples])
    classes = torch.cat([sample.gt_instances.labels for sample in samples])
    gaps, nearest = torch.cdist(problem.boxes.gt_boxes, objects, p=torch.inf).min(dim=1)
    assert gaps.max() < 1e-3
    assert torch.equal(problem.labels[problem.positives], classes[nearest])
    assert set(nearest.tolist()) == {0, 1, 2}
    # Labels are IoUs of the predicted boxes, not soft targets.
    quality = bbox_overlaps(problem.boxes.boxes.detach(), objects[nearest], is_aligned=True)
    torch.testing.assert_close(problem.quality, quality, rtol=1e-4, atol=1e-5)
    # A logit, a box and a prior of one row belong to one place.
    logits, distances = (
        [level.permute(0, 2, 3, 1) for level in maps] for maps in head(features)[:2]
    )
    found = set()
    for row, center, box in zip(
        problem.positive_logits(), problem.boxes.centers, problem.boxes.boxes, strict=True
    ):
        for stride, scores, sides in zip((4, 8, 16), logits, distances, strict=True):
            places = (scores - row).abs().amax(dim=3).argmin()
            image, y, x = (int(i) for i in torch.unravel_index(places, scores.shape[:3]))
            if (scores[image, y, x] - row).abs().max() > 1e-6:
                continue
            half = 0.5 if name == "yolov8" else 0.0
            place = torch.tensor([x + half, y + half]) * stride
            torch.testing.assert_close(center, place)
            scale = stride if name == "yolov8" else 1
            left, top, right, bottom = sides[image, y, x] * scale
            own = torch.stack(
                [place[0] - left, place[1] - top, place[0] + right, place[1] + bottom]
            )
            torch.testing.assert_close(box, own, rtol=1e-4, atol=1e-4)
            found.add((image, stride, y, x))
    assert len(found) == problem.num_positives


@every_head
def test_magnitudes_are_those_of_the_outputs_of_both_branches(name):
    torch.manual_seed(0)
    head = ranking(name, criterion=dict(balance="magnitude"))
    _, samples = make_batch((2, 1))
    maps = [[level.detach().requires_grad_() for level in m] for m in head(make_features(2))]
    objects = [sample.gt_instances for sample in samples]
    losses = head.loss_by_feat(*maps, objects, [sample.metainfo for sample in samples])
    box_loss = losses["loss_bbox"] / losses["balance_bbox"]
    of_logits, of_boxes = (
        sum(g.abs().sum() for g in torch.autograd.grad(loss, branch, retain_graph=True))
        for loss, branch in ((losses["loss_cls"], maps[0]), (box_loss, maps[1]))
    )
    torch.testing.assert_close(losses["balance_bbox"], of_logits / of_boxes, rtol=1e-4, atol=0)


@every_loss
def test_distributions_count_beside_the_box_loss_as_in_the_stock_head(loss):
    # Weighed alike: the ratio of both losses is that of their weighted sums.
    torch.manual_seed(0)
    head = ranking("yolov8", loss)
    seen = {}
    head.criterion.register_forward_pre_hook(lambda module, args: seen.update(problem=args[0]))
    _, samples = make_batch((2, 1))
    features = make_features(2)
    losses = head.loss(features, samples)
    problem = seen["problem"]
    outputs = head.dense_outputs(*head(features))
    own = outputs.dists.reshape(-1, 4, 16)[problem.positives]
    strides = outputs.strides.repeat(2, 1)[problem.positives]
    centers, boxes = problem.boxes.centers, problem.boxes.gt_boxes
    sides = torch.cat([centers - boxes[:, :2], boxes[:, 2:] - centers], dim=1) / strides
    low = sides.clamp(0, 14.99).floor()
    log_p = own.log_softmax(dim=2)
    below, above = (log_p.gather(2, (low + step).long()[..., None]).squeeze(2) for step in (0, 1))
    share = sides.clamp(0, 14.99) - low
    dfl = 0.375 * -((1 - share) * below + share * above).sum(dim=1)
    ciou = head.loss_bbox(problem.boxes.boxes, boxes, reduction_override="none")
    weights = head.criterion.weights(problem)
    expected = (dfl * weights).sum() / (ciou * weights).sum()
    torch.testing.assert_close(
        losses["loss_dfl"] / losses["loss_bbox"], expected, rtol=1e-4, atol=0
    )


@every_head
@pytest.mark.parametrize("num_classes", [1, 2])
def test_a_small_batch_is_overfitted(name, num_classes):
    torch.manual_seed(0)
    head = ranking(name, num_classes=num_classes)
    features = tuple(level.detach() for level in make_features(2))
    last = num_classes - 1
    samples = [
        make_sample([[4, 4, 24, 28], [30, 30, 60, 58]], [0, last]),
        make_sample([[10, 30, 34, 50]], [last]),
    ]
    optimizer = torch.optim.Adam(head.parameters(), lr=2e-2)
    for _ in range(60):
        optimizer.zero_grad()
        losses_of(head, features, samples)
        optimizer.step()
    # Evaluation by the statistics of the batch itself.
    with torch.no_grad():
        results = head.predict(features, samples)
    check_objects_come_first(results, samples)


@every_head
def test_autocast(name):
    torch.manual_seed(0)
    head = ranking(name)
    features = make_features(2)
    _, samples = make_batch((2, 0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = losses_of(head, features, samples)
    assert all(p.grad.isfinite().all() for p in head.parameters())
    reference = head.loss(features, samples)
    torch.testing.assert_close(losses["loss_cls"], reference["loss_cls"], rtol=0.1, atol=0.01)


@every_head
@pytest.mark.parametrize("num_objects", [(2, 1), (0, 0)])
def test_scores_without_an_auxiliary_branch(name, num_objects):
    """The row of Table 8.4 with quality focal loss, in the same head."""
    torch.manual_seed(0)
    criterion = dict(type="ScoreCriterion", instance_weight="score")
    head = ranking(name, "QualityFocalLoss", criterion=criterion)
    losses = losses_of(head, make_features(2), make_batch(num_objects, 4)[1])
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())
    for key in [key for key in losses if "loss" in key and key != "loss_cls"]:
        assert (losses[key] > 0) == (sum(num_objects) > 0), key


@every_head
def test_mistakes(name):
    with pytest.raises(TypeError, match="use MMDetection's own head"):
        ranking(name, "QualityFocalLoss")
    head = ranking(name, "aLRPLoss", loss_bbox=dict(type="L1Loss"))
    with pytest.raises(ValueError, match="with aLRPLoss, but got L1Loss"):
        head.loss(make_features(1), make_batch((1,))[1])


def test_rtmdet_of_mmdetection_by_one_setting():
    # The config of docs/yolov8.md.
    config = get_config("mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py")
    head = dict(type="RankRTMDetHead", loss_cls=dict(_delete_=True, type="RankSortLoss"))
    config.merge_from_dict(dict(model=dict(bbox_head=head)))
    init_default_scope("mmdet")
    stock = set(MODELS.build(without_head_type(config)).state_dict())
    model = build_model(config)
    assert {name for name in model.state_dict() if "criterion" not in name} == stock
    losses = train_step(revert_sync_batchnorm(model), (2, 1), num_classes=80, size=64)
    assert losses["loss_cls"] > 0
    assert losses["loss_bbox"] > 0


def without_head_type(config):
    """The model of MMDetection itself, without pretrained weights."""
    model = without_init_cfg(config.model.to_dict())
    model["bbox_head"] |= dict(
        type="RTMDetSepBNHead", loss_cls=dict(type="QualityFocalLoss", use_sigmoid=True)
    )
    return ConfigDict(model)
