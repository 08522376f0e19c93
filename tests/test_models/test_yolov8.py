"""YOLOv8: layers against golden-checked values, assignment against its definition."""

import pytest
import torch
from mmdet.models.backbones.csp_darknet import SPPBottleneck
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from synthetic import make_sample
from yolov8 import SIZES, build_detector, fill_by_rule, scattered_images

from mmdet_rank.models.backbones import YOLOv8CSPDarknet
from mmdet_rank.models.layers import SPPF
from mmdet_rank.models.task_modules import InsideTaskAlignedAssigner

# Trainable parameters with 7 and with 80 classes, as published.
PARAMETERS = {
    "n": (3012197, 3157184),
    "s": (11138293, 11166544),
    "m": (25860357, 25902624),
    "l": (43635221, 43691504),
    "x": (68159333, 68229632),
}


def samples():
    """Two images of 96 x 64, one with two objects and one with one."""
    found = [make_sample([[10, 12, 50, 60], [40, 5, 90, 44]], [1, 4]),
             make_sample([[20, 8, 70, 58]], [3])]  # fmt: skip
    for sample in found:
        sample.set_metainfo(dict(img_shape=(64, 96), ori_shape=(64, 96)))
    return found


@pytest.mark.parametrize("size", SIZES)
def test_number_of_parameters(size):
    depth, width, last, channels, blocks = SIZES[size]
    for num_classes, expected in zip((7, 80), PARAMETERS[size], strict=True):
        with torch.device("meta"):
            parts = [
                MODELS.build(ConfigDict(config))
                for config in (
                    dict(type="YOLOv8CSPDarknet", deepen_factor=depth, widen_factor=width,
                         last_stage_out_channels=last),
                    dict(type="YOLOv8PAFPN", in_channels=channels, num_csp_blocks=blocks),
                    dict(type="YOLOv8Head", num_classes=num_classes, in_channels=channels),
                )
            ]  # fmt: skip
        assert sum(p.numel() for part in parts for p in part.parameters()) == expected


def test_the_backbone_is_that_of_size_l_by_default():
    with torch.device("meta"):
        ours = MODELS.build(dict(type="YOLOv8CSPDarknet"))
        depth, width, last = SIZES["l"][:3]
        large = MODELS.build(
            dict(type="YOLOv8CSPDarknet", deepen_factor=depth, widen_factor=width,
                 last_stage_out_channels=last)
        )  # fmt: skip
    shapes = [{name: p.shape for name, p in model.state_dict().items()} for model in (ours, large)]
    if last != 1024:  # the class's own default, of n and s
        shapes = [{n: s for n, s in of.items() if not n.startswith("stage4")} for of in shapes]
    assert shapes[0] == shapes[1]


def test_values():
    # Values of the implementation that agreed with an independent one to the last digit.
    model = fill_by_rule(build_detector())
    inputs = scattered_images(2, 64, 96)
    logits, distances, dists = model.bbox_head(model.extract_feat(inputs))
    means = [
        [level.double().mean().item() for level in maps] for maps in (logits, distances, dists)
    ]
    assert means[0] == pytest.approx([0.0083154, -0.0301517, -0.0667646], abs=2e-6)
    assert means[1] == pytest.approx([7.4995648, 7.5415331, 7.5872480], abs=2e-5)
    assert means[2] == pytest.approx([-0.0277655, -0.0102358, 0.0040918], abs=2e-6)
    losses = model.loss(inputs, samples())
    assert losses["loss_cls"].item() == pytest.approx(315.437898, rel=1e-5)
    assert losses["loss_bbox"].item() == pytest.approx(12.8069890, rel=1e-5)
    assert losses["loss_dfl"].item() == pytest.approx(8.4440945, rel=1e-5)
    sum(losses.values()).backward()
    norms = {name: p.grad.double().norm().item() for name, p in model.named_parameters()}
    assert sum(norm**2 for norm in norms.values()) ** 0.5 == pytest.approx(140.81138, rel=1e-4)
    assert norms["backbone.stem.conv.weight"] == pytest.approx(3.7883146, rel=1e-4)
    key = "neck.top_down_layers.1.final_conv.conv.weight"
    assert norms[key] == pytest.approx(17.8646679, rel=1e-4)
    with torch.no_grad():
        results = [s.pred_instances for s in model.predict(inputs, samples(), rescale=False)]
    # Suppressed while they are whole, and only then cut at the image's edge.
    assert [len(result) for result in results] == [154, 153]
    assert results[0].scores[:3].tolist() == pytest.approx([0.5445, 0.5438, 0.5434], abs=1e-4)
    assert results[1].labels[:5].tolist() == [4, 6, 5, 4, 4]
    assert results[1].bboxes[0].tolist() == pytest.approx([15.7024, 0, 96, 64], abs=1e-3)


def test_sppf_is_the_pooling_of_5_9_and_13():
    torch.manual_seed(0)
    fast, slow = SPPF(8, 6), SPPBottleneck(8, 6, act_cfg=dict(type="SiLU"))
    slow.load_state_dict(fast.state_dict())
    images = torch.randn(2, 8, 17, 20)
    torch.testing.assert_close(fast.eval()(images), slow.eval()(images), rtol=0, atol=0)


def test_a_part_is_frozen():
    backbone = MODELS.build(
        dict(type="YOLOv8CSPDarknet", widen_factor=0.25, deepen_factor=0.33, frozen_stages=1)
    )
    # Data-parallel training is told of parameters before the first call of train().
    frozen = {name for name, p in backbone.named_parameters() if not p.requires_grad}
    backbone.train()
    assert frozen == {name for name, p in backbone.named_parameters() if not p.requires_grad}
    assert {name.partition(".")[0] for name in frozen} == {"stem", "stage1"}
    assert len(frozen) == sum(
        n.startswith(("stem", "stage1")) for n, _ in backbone.named_parameters()
    )
    assert not backbone.stem.bn.training
    assert backbone.stage2[0].bn.training


def by_definition(priors, boxes, scores, objects, labels, topk, alpha, beta):
    """Which object each prior is given, or -1; and the metric of the pair."""
    from torchvision.ops import complete_box_iou

    overlaps = complete_box_iou(boxes, objects).clamp(min=0)
    taken = {}
    for g, (x1, y1, x2, y2) in enumerate(objects.tolist()):
        metrics = []
        for a, (x, y) in enumerate(priors.tolist()):
            metric = scores[a, labels[g]].item() ** alpha * overlaps[a, g].item() ** beta
            if x1 < x < x2 and y1 < y < y2 and metric > 0:
                metrics.append((metric, a))
        for metric, a in sorted(metrics, reverse=True)[:topk]:
            if a not in taken or overlaps[a, g] > overlaps[a, taken[a][0]]:
                taken[a] = (g, metric)
    return [taken.get(a, (-1, 0.0)) for a in range(len(priors))]


@pytest.mark.parametrize("topk", [1, 3, 10])
def test_assignment_is_its_definition(topk):
    gen = torch.Generator().manual_seed(topk)
    priors = torch.rand(60, 2, generator=gen, dtype=torch.float64) * 64
    corners = priors - 12 * torch.rand(60, 2, generator=gen)
    boxes = torch.cat([corners, corners + 4 + 24 * torch.rand(60, 2, generator=gen)], dim=1)
    scores = torch.rand(60, 4, generator=gen, dtype=torch.float64)
    # Two objects share much of their area; the last lies where no prior is.
    objects = torch.tensor([[5, 5, 40, 38], [12, 8, 45, 40], [30, 34, 62, 60], [70, 70, 90, 80]])
    objects, labels = objects.double(), torch.tensor([1, 1, 3, 0])
    result = InsideTaskAlignedAssigner(topk).assign(
        InstanceData(priors=torch.cat([priors, priors], dim=1), bboxes=boxes, scores=scores),
        InstanceData(bboxes=objects, labels=labels),
    )
    expected = by_definition(priors, boxes, scores, objects, labels.tolist(), topk, 0.5, 6.0)
    assert (result.gt_inds - 1).tolist() == [g for g, _ in expected]
    torch.testing.assert_close(
        result.assign_metrics, torch.tensor([m for _, m in expected], dtype=torch.float64)
    )
    given = result.gt_inds > 0
    assert {0, 1, 2} >= set((result.gt_inds[given] - 1).tolist())
    assert torch.equal(result.labels[given], labels[result.gt_inds[given] - 1])
    assert (result.labels[~given] == -1).all()


def test_a_small_object_keeps_its_places():
    # Boxes of ten priors outside fit better; MMDetection's assigner gives the object nothing.
    from mmdet.models.task_modules.assigners import TaskAlignedAssigner

    priors = torch.tensor([[5.0, 5.0]] + [[20.0, 5.0 + i] for i in range(10)])
    boxes = torch.tensor([[2.0, 2.0, 10.0, 10.0]] + [[0.0, 0.0, 10.0, 10.0]] * 10)
    predicted = InstanceData(
        priors=torch.cat([priors, priors], dim=1), bboxes=boxes, scores=torch.full((11, 1), 0.5)
    )
    objects = InstanceData(bboxes=torch.tensor([[0.0, 0, 10, 10]]), labels=torch.tensor([0]))
    inside = InsideTaskAlignedAssigner(10).assign(predicted, objects)
    assert inside.gt_inds.tolist() == [1] + [0] * 10
    assert not TaskAlignedAssigner(10).assign(predicted, objects, alpha=0.5).gt_inds.any()


def test_degenerate_boxes_and_no_objects():
    assigner = InsideTaskAlignedAssigner()
    predicted = InstanceData(
        priors=torch.tensor([[4.0, 4.0, 4.0, 4.0]] * 2),
        bboxes=torch.tensor([[4.0, 4.0, 4.0, 4.0], [0.0, 0.0, 8.0, 8.0]]),
        scores=torch.full((2, 3), 0.5),
    )
    objects = InstanceData(
        bboxes=torch.tensor([[0.0, 0, 8, 8], [3, 3, 3, 3]]), labels=torch.tensor([2, 0])
    )
    result = assigner.assign(predicted, objects)
    assert result.gt_inds.tolist() == [0, 1]
    assert result.assign_metrics.isfinite().all()
    nothing = assigner.assign(predicted, objects[:0])
    assert nothing.gt_inds.tolist() == [0, 0]
    assert nothing.assign_metrics.tolist() == [0.0, 0.0]


def test_soft_targets():
    # The greatest of an object is its greatest overlap, and others keep their share of it.
    model = build_detector()
    head = model.bbox_head
    torch.manual_seed(0)
    outputs = head.dense_outputs(*head(model.extract_feat(scattered_images(2, 64, 96))))
    objects = [sample.gt_instances for sample in samples()]
    targets = head.assign(outputs, objects)
    dense = head.soft_targets(targets)
    assert dense.shape == (*targets.labels.shape, 7)
    torch.testing.assert_close(dense.sum(dim=2), targets.scores)
    for image, own in enumerate(objects):
        for place, label in enumerate(own.labels):
            of_object = targets.gt_inds[image] == place
            assert of_object.any()
            assert (dense[image, of_object].argmax(dim=1) == label).all()
            overlaps = head.assigner.iou_calculator(
                outputs.boxes[image, of_object].detach(), own.bboxes[place : place + 1]
            )
            greatest = targets.scores[image, of_object].max()
            torch.testing.assert_close(greatest, overlaps.max(), rtol=1e-3, atol=1e-6)


def test_a_batch_without_objects():
    model = build_detector().train()
    empty = [make_sample([], []) for _ in range(2)]
    losses = model.loss(scattered_images(2, 64, 64), empty)
    assert losses["loss_bbox"] == losses["loss_dfl"] == 0
    assert losses["loss_cls"] > 0
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(
    "loss",
    [
        dict(type="QualityFocalLoss", use_sigmoid=True),
        dict(type="VarifocalLoss", use_sigmoid=True),
        dict(type="FocalLoss", use_sigmoid=True),
    ],
)
def test_other_losses_take_the_soft_targets(loss):
    model = build_detector(loss_cls=loss).train()
    losses = model.loss(scattered_images(2, 64, 96), samples())
    assert losses["loss_cls"] > 0
    losses["loss_cls"].backward()
    assert model.bbox_head.head_module.cls_preds[0][-1].weight.grad.abs().sum() > 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_boxes_and_targets_are_exact_in_half_precision(dtype):
    # An object as large as the image reaches beyond the bins of the finest level, where 14.99 would
    # be 15 in bfloat16, and its corner is no number of half precision.
    torch.manual_seed(0)
    head = MODELS.build(dict(type="YOLOv8Head", num_classes=3, in_channels=[8, 8, 8]))
    head.train()
    features = [torch.randn(2, 8, 40 // s, 40 // s) for s in (1, 2, 4)]
    objects = [make_sample([[0.3, 1.7, 318.6, 317.3]], [1]), make_sample([[9, 9, 300.7, 80]], [2])]
    objects = [sample.gt_instances for sample in objects]
    with torch.autocast("cpu", dtype=dtype):
        scores, distances, dists = head(tuple(features))
        outputs = head.dense_outputs(scores, distances, dists)
        targets = head.assign(outputs, objects)
        wanted = head.distance_targets(outputs, targets)
        losses = head.dense_losses(outputs, targets)
    assert scores[0].dtype == dtype  # autocast was at work
    assert outputs.boxes.dtype == wanted.dtype == torch.float32
    for image, sample in enumerate(objects):
        own = targets.labels[image] < 3
        assert own.any()
        assert (targets.boxes[image, own] == sample.bboxes).all()
    assert wanted.max() < 15
    expected = head.head_module.proj * dists[0].float().softmax(dim=3)
    torch.testing.assert_close(
        distances[0].flatten(2).transpose(1, 2), expected.sum(dim=3), rtol=1e-5, atol=1e-5
    )
    sum(losses.values()).backward()
    assert all(p.grad.isfinite().all() for p in head.parameters())


def test_mistakes():
    with pytest.raises(ValueError, match="in_channels of YOLOv8Head for each of 3 strides"):
        build_detector(in_channels=[64, 128])


def test_stages_that_nothing_takes_are_left_out():
    options = dict(deepen_factor=1 / 3, widen_factor=1 / 4)
    whole = YOLOv8CSPDarknet(**options)
    part = YOLOv8CSPDarknet(out_indices=(1, 2), frozen_stages=4, **options)
    assert [name for name, _ in part.named_children()] == ["stem", "stage1", "stage2"]
    part.load_state_dict(whole.state_dict(), strict=False)
    images = torch.rand(2, 3, 64, 96)
    levels = part.eval()(images)
    assert [level.shape[1:] for level in levels] == [(32, 16, 24), (64, 8, 12)]
    assert torch.equal(levels[1], whole.eval()(images)[0])
    # Data-parallel training waits for the gradient of every parameter.
    part = YOLOv8CSPDarknet(out_indices=(3,), **options)
    part(images)[0].sum().backward()
    assert all(parameter.grad is not None for parameter in part.parameters())
