"""Duties of every dense head, with every ranking loss."""

import pytest
import torch
from dense_heads import ANCHORS, ATSS, HEADS, LOSSES, build_head, predict_perfectly
from instance_segmentors import YOLACT
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox_overlaps
from mmengine.config import ConfigDict
from rcnn import detector_config
from synthetic import check_objects_come_first, make_batch, make_features, make_sample

from mmdet_rank.models import ranking_head
from mmdet_rank.models.dense_heads.levels import flatten_maps

KEYS = {"loss_cls", "loss_bbox", "balance_bbox", "num_pos"}

every_head = pytest.mark.parametrize("name", HEADS)
every_loss = pytest.mark.parametrize("loss", LOSSES)


def losses_of(head, features, samples):
    losses = head.loss(features, samples)
    total = sum(value for key, value in losses.items() if "loss" in key)
    total.backward()
    return losses


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_flattened_maps(layout):
    gen = torch.Generator().manual_seed(0)
    # Two images, two priors of three channels each, two levels.
    maps = [
        torch.randn(2, 6, h, w, generator=gen, dtype=torch.float64) for h, w in ((4, 3), (2, 1))
    ]
    maps = [level.to(memory_format=layout).requires_grad_() for level in maps]
    rows = flatten_maps(maps, 3)
    expected = [
        level[image, 3 * prior : 3 * prior + 3, y, x]
        for level in maps
        for image in range(2)
        for y in range(level.shape[2])
        for x in range(level.shape[3])
        for prior in range(2)
    ]
    assert torch.equal(rows, torch.stack(expected))
    assert torch.autograd.gradcheck(lambda *levels: flatten_maps(levels, 3), maps)
    assert not flatten_maps([level.detach() for level in maps], 3).requires_grad


@every_head
@every_loss
@pytest.mark.parametrize("num_classes", [1, 4])
@pytest.mark.parametrize("num_objects", [(2, 1), (2, 0), (0, 0)])
def test_loss_and_gradients(name, loss, num_classes, num_objects):
    torch.manual_seed(0)
    head = build_head(name, loss, num_classes)
    features = make_features(2)
    _, samples = make_batch(num_objects, num_classes)
    losses = losses_of(head, features, samples)
    parts = {"ranking", "sorting"} if loss == "RankSortLoss" else set()
    assert set(losses) == KEYS | parts
    assert all(torch.isfinite(value) for value in losses.values())
    # No unused parameter, whatever the batch holds.
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())
    if sum(num_objects):
        assert losses["num_pos"] > 0
        assert losses["loss_cls"] > 0
        assert losses["loss_bbox"] > 0
    else:
        assert losses["num_pos"] == losses["loss_cls"] == losses["loss_bbox"] == 0
        assert all((p.grad == 0).all() for p in head.parameters())


@every_head
def test_magnitudes_are_those_of_the_outputs_of_both_branches(name):
    # At the maps that come out of the layers, not at boxes in pixels.
    torch.manual_seed(0)
    head = build_head(name, criterion=dict(balance="magnitude"))
    _, samples = make_batch((2, 1), 4)
    maps = [
        [level.detach().requires_grad_() for level in branch]
        for branch in head(make_features(2))[:2]
    ]
    objects = [sample.gt_instances for sample in samples]
    losses = head.loss_by_feat(*maps, objects, [sample.metainfo for sample in samples])
    box_loss = losses["loss_bbox"] / losses["balance_bbox"]
    of_logits, of_boxes = (
        sum(grad.abs().sum() for grad in torch.autograd.grad(loss, branch, retain_graph=True))
        for loss, branch in zip((losses["loss_cls"], box_loss), maps, strict=True)
    )
    torch.testing.assert_close(losses["balance_bbox"], of_logits / of_boxes)


@every_head
def test_prediction(name):
    torch.manual_seed(0)
    head = build_head(name).eval()
    _, samples = make_batch((1, 1))
    results = head.predict(make_features(2), samples)
    assert len(results) == 2
    for result in results:
        assert result.bboxes.shape == (10, 4)
        assert ((result.labels >= 0) & (result.labels < 4)).all()
        assert ((result.scores > 0) & (result.scores < 1)).all()


@every_head
def test_training_and_testing_see_the_same_outputs(name):
    """A head that is an RPN predicts while it trains, from the outputs of its losses."""
    torch.manual_seed(0)
    head = build_head(name)
    features = make_features(2)
    _, samples = make_batch((2, 1))
    found, losses = {}, {}
    for training in (True, False):
        head.train(training)
        losses[training], found[training] = head.loss_and_predict(features, samples)
    for key, value in losses[True].items():
        torch.testing.assert_close(losses[False][key], value)
    results = head.predict(features, samples)
    for of_training, of_testing, expected in zip(found[True], found[False], results, strict=True):
        assert len(expected) == 10
        assert torch.equal(of_training.bboxes, expected.bboxes)
        assert torch.equal(of_testing.bboxes, expected.bboxes)


@every_head
def test_a_missed_object_keeps_its_positives(name, monkeypatch):
    # All predicted boxes miss their objects: labels are tiny, and still positives.
    from mmdet_rank.criteria.problem import BoxTask

    monkeypatch.setattr(BoxTask, "iou", lambda self: self.boxes.new_zeros(len(self.boxes)))
    head = build_head(name)
    features = make_features(2)
    _, samples = make_batch((2, 1))
    losses = losses_of(head, features, samples)
    assert losses["num_pos"] > 0
    assert losses["loss_cls"] > 0.3


@every_head
@every_loss
def test_perfect_boxes(name, loss):
    # One object where the head predicts a box in any case: an IoU is 1.
    head = build_head(name, loss, num_classes=1)
    features = make_features(1)
    sample = make_sample(predict_perfectly(head)[None], [0])
    seen = {}
    head.criterion.register_forward_pre_hook(lambda module, args: seen.update(problem=args[0]))
    losses = losses_of(head, features, [sample])
    assert seen["problem"].quality.max().item() == pytest.approx(1)
    assert losses["num_pos"] > 0
    assert all(torch.isfinite(value) for value in losses.values())
    assert all(p.grad.isfinite().all() for p in head.parameters())


@every_head
@every_loss
@pytest.mark.parametrize("num_classes", [1, 2])
def test_a_small_batch_is_overfitted(name, loss, num_classes):
    torch.manual_seed(0)
    head = build_head(name, loss, num_classes=num_classes)
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
    fitted = head.loss(features, samples)
    assert fitted["loss_cls"] < 0.1
    results = head.eval().predict(features, samples)
    check_objects_come_first(results, samples)


@every_head
def test_autocast(name):
    torch.manual_seed(0)
    head = build_head(name)
    features = make_features(2)
    _, samples = make_batch((2, 0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = head.loss(features, samples)
    sum(value for key, value in losses.items() if "loss" in key).backward()
    assert all(p.grad.isfinite().all() for p in head.parameters())
    exact = build_head(name)
    exact.load_state_dict(head.state_dict())
    reference = exact.loss(features, samples)
    assert losses["num_pos"] == reference["num_pos"]
    torch.testing.assert_close(losses["loss_cls"], reference["loss_cls"], rtol=0.05, atol=0.01)


@pytest.mark.parametrize("name", ["atss", "paa", "fcos"])
def test_no_auxiliary_branch_is_left(name):
    head = build_head(name)
    parts = [part for part, _ in head.named_modules()]
    assert not [part for part in parts if "centerness" in part or "iou" in part]
    with pytest.raises(ValueError, match=f"no loss_centerness in {type(head).__name__}"):
        build_head(name, loss_centerness=dict(type="CrossEntropyLoss", use_sigmoid=True))
    build_head(name, loss_centerness=None)


@every_head
def test_positives_aim_at_their_objects(name):
    torch.manual_seed(0)
    head = build_head(name)
    seen = {}
    head.criterion.register_forward_pre_hook(lambda module, args: seen.update(problem=args[0]))
    _, samples = make_batch((2, 1))
    head.loss(make_features(2), samples)
    problem = seen["problem"]
    objects = torch.cat([sample.gt_instances.bboxes for sample in samples])
    classes = torch.cat([sample.gt_instances.labels for sample in samples])
    gaps, nearest = torch.cdist(problem.boxes.gt_boxes, objects, p=torch.inf).min(dim=1)
    assert gaps.max() < 1e-3
    assert torch.equal(problem.labels[problem.positives], classes[nearest])
    assert set(nearest.tolist()) == {0, 1, 2}
    quality = bbox_overlaps(problem.boxes.boxes.detach(), objects[nearest], is_aligned=True)
    torch.testing.assert_close(problem.quality, quality, rtol=1e-4, atol=1e-5)
    # What the box loss is computed on are the boxes, and what it aims at the objects.
    torch.testing.assert_close(problem.boxes.pred, problem.boxes.boxes)
    torch.testing.assert_close(problem.boxes.target, objects[nearest], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", ["retina_iou", "atss", "fovea"])
def test_box_losses_on_deltas(name):
    # The setting of AP-RetinaNet and AP-FoveaBox.
    torch.manual_seed(0)
    loss_bbox = dict(type="SmoothL1Loss", beta=1.0)
    head = build_head(name, "APLoss", reg_decoded_bbox=False, loss_bbox=loss_bbox)
    seen = {}
    head.criterion.register_forward_pre_hook(lambda module, args: seen.update(problem=args[0]))
    features, (_, samples) = make_features(2), make_batch((2, 1))
    outputs = flatten_maps(head(features)[1], 4)
    losses = head.loss(features, samples)
    problem = seen["problem"]
    objects = torch.cat([sample.gt_instances.bboxes for sample in samples])
    objects = objects[torch.cdist(problem.boxes.gt_boxes, objects, p=torch.inf).argmin(dim=1)]
    priors = head.prior_generator.grid_priors([(16, 16), (8, 8), (4, 4)], device="cpu")
    own = torch.cat([level.repeat(2, 1) for level in priors])[problem.positives]
    if name == "fovea":
        edges = [
            torch.full((2 * len(level), 1), float(edge))
            for level, edge in zip(priors, head.base_edge_list, strict=True)
        ]
        sides = torch.cat([own - objects[:, :2], objects[:, 2:] - own], dim=1)
        # Inside the image, where FoveaHead clips the logarithms' arguments.
        expected = (sides / torch.cat(edges)[problem.positives]).clamp(1 / 16, 16).log()
    else:
        expected = head.bbox_coder.encode(own, objects)
    torch.testing.assert_close(problem.boxes.target, expected, rtol=1e-4, atol=1e-4)
    outputs = outputs[problem.positives]
    torch.testing.assert_close(problem.boxes.pred, outputs)
    difference = (outputs - expected).abs()
    by_hand = torch.where(difference < 1, difference**2 / 2, difference - 0.5)
    torch.testing.assert_close(losses["loss_bbox"], by_hand.mean(), rtol=1e-4, atol=1e-5)


def build_any(name, **options):
    """A head that has reg_decoded_bbox, by name; no default of the config says so."""
    config = {
        "rpn": lambda: detector_config().rpn_head,
        "rcnn": lambda: detector_config().roi_head.bbox_head,
        "yolact": lambda: ConfigDict(YOLACT["bbox_head"], num_classes=4),
    }.get(name, lambda: ConfigDict(HEADS[name], num_classes=4, in_channels=8, feat_channels=8))()
    # In plain dicts, for those of mmengine merge what is within.
    return MODELS.build(dict(config) | dict(loss_cls=dict(type="APLoss")) | options)


DECODING = {
    "retina_iou": "RankRetinaHead",
    "atss": "RankATSSHead",
    "fovea": "RankFoveaHead",
    "rpn": "RankRPNHead",
    "yolact": "RankYOLACTHead",
    "rcnn": "RankShared2FCBBoxHead",
}


@pytest.mark.parametrize("name", DECODING)
def test_losses_of_boxes_are_refused_on_deltas(name):
    of_boxes = ["IoULoss", "BoundedIoULoss", "CompleteIoULoss"]
    of_boxes += [f"{letter}IoULoss" for letter in "GDCES"]
    for loss in of_boxes:
        message = f"reg_decoded_bbox=True in {DECODING[name]}, but got False: {loss} is computed on"
        with pytest.raises(ValueError, match=message):
            build_any(name, reg_decoded_bbox=False, loss_bbox=dict(type=loss))
        for given in ({}, dict(reg_decoded_bbox=True)):
            assert build_any(name, loss_bbox=dict(type=loss), **given).reg_decoded_bbox is True


@pytest.mark.parametrize("loss", ["L1Loss", "SmoothL1Loss", "BalancedL1Loss"])
@pytest.mark.parametrize("name", DECODING)
def test_a_loss_of_coordinates_says_whether_it_is_of_pixels(name, loss, monkeypatch):
    # A stock config turned into one of ours by type and loss_cls keeps L1Loss, made for deltas.
    told = []
    monkeypatch.setattr(ranking_head, "print_log", lambda text, **kwargs: told.append(text))
    for decoded in (False, True):
        head = build_any(name, loss_bbox=dict(type=loss), reg_decoded_bbox=decoded)
        assert head.reg_decoded_bbox is decoded
    build_any(name)
    assert told == []
    assert build_any(name, loss_bbox=dict(type=loss)).reg_decoded_bbox is True
    # ATSSHead decodes by default in MMDetection too.
    assert len(told) == (name != "atss")
    assert all(text.startswith(f"{loss} in {DECODING[name]} works on decoded") for text in told)


def atss_by_hand(levels, inside, objects, topk):
    """Object of each anchor, -1 for none, from the paper's words: one object after the other."""
    best, owner = [0.0] * sum(map(len, levels)), [-1] * sum(map(len, levels))
    anchors = [box.tolist() for level in levels for box in level]
    for number, (x1, y1, x2, y2) in enumerate(objects):
        candidates, start = {}, 0
        for level in levels:
            places = [i for i in range(start, start + len(level)) if inside[i]]
            start += len(level)
            places.sort(
                key=lambda i: (
                    (anchors[i][0] + anchors[i][2] - x1 - x2) ** 2
                    + (anchors[i][1] + anchors[i][3] - y1 - y2) ** 2
                )
            )
            for i in places[:topk]:
                a, b, c, d = anchors[i]
                shared = max(min(c, x2) - max(a, x1), 0) * max(min(d, y2) - max(b, y1), 0)
                candidates[i] = shared / ((c - a) * (d - b) + (x2 - x1) * (y2 - y1) - shared)
        ious = torch.tensor(list(candidates.values()), dtype=torch.float64)
        for i, iou in candidates.items():
            x, y = (anchors[i][0] + anchors[i][2]) / 2, (anchors[i][1] + anchors[i][3]) / 2
            if iou >= ious.mean() + ious.std() and x1 < x < x2 and y1 < y < y2 and iou > best[i]:
                best[i], owner[i] = iou, number
    return owner


@pytest.mark.parametrize("border", [-1, 0])
@pytest.mark.parametrize("name", ["retina_iou", "rpn", "yolact"])
def test_atss_assignment_by_hand(name, border):
    torch.manual_seed(0)
    # One anchor at a place, so that no two are equally far from an object.
    head = build_any(
        name, in_channels=8, anchor_generator=ANCHORS | dict(scales_per_octave=1),
        train_cfg=ATSS | dict(allowed_border=border),
    )  # fmt: skip
    seen = {}
    head.criterion.register_forward_pre_hook(lambda module, args: seen.update(problem=args[0]))
    # The first two lie over each other.
    objects = [[[3.1, 4.2, 34.7, 39.3], [17.9, 22.6, 61.2, 58.1]], [[9.3, 30.4, 33.8, 50.9]]]
    classes = [[0, 0], [0]] if name == "rpn" else [[0, 3], [2]]
    samples = [make_sample(*pair) for pair in zip(objects, classes, strict=True)]
    head.loss(make_features(2), samples)
    levels = head.prior_generator.grid_priors([(16, 16), (8, 8), (4, 4)], device="cpu")
    anchors = torch.cat(levels)
    inside = torch.ones(len(anchors), dtype=torch.bool)
    if border == 0:
        inside = (anchors[:, :2] >= 0).all(1) & (anchors[:, 2:] < 64).all(1)
    labels, boxes = [], []
    for own, own_classes in zip(objects, classes, strict=True):
        owner = torch.tensor(atss_by_hand(levels, inside, own, 9))
        assert set(owner.tolist()) == {-1, *range(len(own))}
        labels.append(torch.tensor([*own_classes, head.num_classes])[owner])
        boxes.append(torch.tensor([*own, [0.0] * 4])[owner])
    # The problem goes level by level, and through the images of each.
    sizes = [len(level) for level in levels]
    labels, boxes = (
        torch.cat([torch.cat(level) for level in zip(*(x.split(sizes) for x in each), strict=True)])
        for each in (labels, boxes)
    )
    problem = seen["problem"]
    assert torch.equal(problem.labels, labels)
    assert torch.equal(problem.positives, (labels < head.num_classes).nonzero().squeeze(1))
    torch.testing.assert_close(problem.boxes.gt_boxes, boxes[problem.positives])
    weights = torch.cat([level.repeat(2) for level in inside.float().split(sizes)])
    assert torch.equal(problem.label_weights, weights)


@pytest.mark.parametrize("name", ["fovea", "fcos", "fcos_normed"])
def test_boxes_at_the_edge_are_not_cut(name):
    # Predictions of 40 pixels to all sides leave the image; objects reach its edges.
    head = build_head(name)
    for parameter in head.parameters():
        torch.nn.init.zeros_(parameter)
    for scale in getattr(head, "scales", []):
        torch.nn.init.ones_(scale.scale)
    sides = [torch.tensor(40.0)] * 3
    with torch.no_grad():
        if name == "fovea":
            sides = [edge * torch.tensor(1.2).exp() for edge in head.base_edge_list]
            head.conv_reg.bias.fill_(1.2)
        elif name == "fcos":
            head.conv_reg.bias.fill_(float(sides[0].log()))
        else:
            sides = [5.0 * stride for stride in head.strides]
            head.conv_reg.bias.fill_(5.0)
    seen = {}
    head.criterion.register_forward_pre_hook(lambda module, args: seen.update(problem=args[0]))
    objects = torch.tensor([[0.0, 0, 14, 14], [34, 30, 64, 64], [0, 40, 28, 64]])
    samples = [make_sample(objects[:2], [0, 1]), make_sample(objects[2:], [3])]
    losses_of(head, make_features(2), samples)
    problem = seen["problem"]
    points = head.prior_generator.grid_priors([(16, 16), (8, 8), (4, 4)], device="cpu")
    sides = [torch.full((2 * len(own), 1), float(s)) for own, s in zip(points, sides, strict=True)]
    own = torch.cat([level.repeat(2, 1) for level in points])[problem.positives]
    torch.testing.assert_close(problem.boxes.centers, own)
    side = torch.cat(sides)[problem.positives]
    torch.testing.assert_close(problem.boxes.boxes, torch.cat([own - side, own + side], dim=1))
    assert (problem.boxes.boxes.amin(1) < 0).any()
    assert (problem.boxes.boxes.amax(1) > 64).any()
    # The targets are the objects to their very edges; each has its positives.
    gaps, nearest = torch.cdist(problem.boxes.gt_boxes, objects, p=torch.inf).min(dim=1)
    assert gaps.max() < 1e-3
    assert set(nearest.tolist()) == {0, 1, 2}
    assert all(p.grad.isfinite().all() for p in head.parameters())


def test_levels_and_images_are_ranked_together():
    # One positive among all levels and images: its ranking error counts negatives of all.
    from mmdet_rank.ops import rank_sort_loss

    torch.manual_seed(0)
    head = build_head("retina_iou", num_classes=1)
    features = make_features(2)
    seen = {}
    criterion = head.criterion
    criterion.register_forward_pre_hook(lambda module, args: seen.update(problem=args[0]))
    head.loss(features, make_batch((1, 0), 1)[1])
    problem = seen["problem"]
    assert problem.logits.shape == (2 * 2 * (16 * 16 + 8 * 8 + 4 * 4), 1)
    ranking, _ = rank_sort_loss(problem.logits.view(-1), criterion.targets(problem))
    scores = problem.logits.detach().view(-1)
    positives = scores[problem.positives]
    outranking = ((scores[None] - positives[:, None]) + 0.5).clamp(0, 1).double()
    targets = criterion.targets(problem)
    above = (outranking * (targets >= 0)).sum(1)
    expected = ((outranking * (targets == 0)).sum(1) / above).mean()
    assert ranking.item() == pytest.approx(expected.item(), rel=1e-5)
