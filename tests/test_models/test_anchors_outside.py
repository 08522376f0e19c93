"""Images of several sizes in a batch, and anchors that leave them, in every head on anchors."""

import dense_heads
import instance_segmentors
import pytest
import rcnn
import torch
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox_overlaps
from mmengine.config import ConfigDict
from synthetic import make_features, make_sample

SIZES = (16, 8, 4)
WIDTHS = (64, 40)


def build(name, border):
    """A head of 8 channels on strides 4, 8 and 16."""
    if name == "rpn":
        model = rcnn.detector_config()
        config = model.rpn_head | dict(train_cfg=model.train_cfg.rpn, test_cfg=model.test_cfg.rpn)
    elif name == "yolact":
        model = ConfigDict(instance_segmentors.YOLACT)
        anchors = model.bbox_head.anchor_generator | dict(strides=[4, 8, 16])
        config = model.bbox_head | dict(
            in_channels=8, num_classes=4, anchor_generator=anchors, train_cfg=model.train_cfg
        )
    else:
        config = ConfigDict(dense_heads.HEADS[name] | dict(in_channels=8, num_classes=4))
        config.feat_channels = 8
    config.train_cfg = config.train_cfg | dict(allowed_border=border)
    head = MODELS.build(config)
    head.init_weights()
    return head.train()


def problem_of(name, border):
    """The ranking problem of two images, the second narrower: boxes of its anchors, image of each.

    The second image has objects at its edge and a small one far from it.
    """
    torch.manual_seed(0)
    head = build(name, border)
    samples = [
        make_sample([[4, 4, 24, 28], [30, 30, 60, 58]], [0, 1]),
        make_sample([[22, 6, 38, 24], [2, 40, 16, 54], [8, 20, 36, 60]], [2, 3, 0]),
    ]
    for sample, width in zip(samples, WIDTHS, strict=True):
        sample.set_metainfo(dict(img_shape=(64, width), pad_shape=(64, width)))
    seen = {}
    head.criterion.register_forward_pre_hook(lambda module, args: seen.update(problem=args[0]))
    head.loss(make_features(2), samples)
    anchors = head.prior_generator.grid_priors([(s, s) for s in SIZES], device="cpu")
    cells = [
        torch.arange(s * s).remainder(s).repeat_interleave(len(level) // (s * s)) * (64 // s)
        for s, level in zip(SIZES, anchors, strict=True)
    ]
    if name == "paa":  # image by image
        boxes, lefts = torch.cat(anchors).repeat(2, 1), torch.cat(cells).repeat(2)
        image = torch.arange(2).repeat_interleave(len(boxes) // 2)
    else:  # level by level
        boxes = torch.cat([level.repeat(2, 1) for level in anchors])
        lefts = torch.cat([level.repeat(2) for level in cells])
        image = torch.cat([torch.arange(2).repeat_interleave(len(level)) for level in anchors])
    return seen["problem"], boxes, lefts, image, samples


@pytest.mark.parametrize("border", [0, -1])
@pytest.mark.parametrize("name", ["retina_iou", "retina_atss", "atss", "paa", "rpn", "yolact"])
def test_what_is_outside_is_ignored_and_nothing_else(name, border):
    problem, boxes, lefts, image, samples = problem_of(name, border)
    widths = torch.tensor(WIDTHS)[image]
    # Cells that begin beyond the image hold padding alone.
    inside = lefts < widths
    if border == 0:
        inside &= (boxes[:, :2] >= 0).all(1) & (boxes[:, 2] < widths) & (boxes[:, 3] < 64)
    assert 0 < inside[image == 1].sum() < inside[image == 0].sum()
    weights = problem.label_weights
    assert (weights[~inside] == 0).all()
    assert inside[problem.positives].all()
    ious = torch.zeros(len(boxes))
    for number, sample in enumerate(samples):
        overlaps = bbox_overlaps(boxes, sample.gt_instances.bboxes).amax(1)
        ious[image == number] = overlaps[image == number]
    # Of those inside, assigners by IoU ignore some that have a share of an object.
    counted = inside if "atss" in name else inside & (ious < 0.1)
    assert (weights[counted] == 1).all()
    centers = (boxes[:, :2] + boxes[:, 2:])[problem.positives] / 2
    torch.testing.assert_close(problem.boxes.centers, centers)
    # Each object keeps the anchors of its own image.
    objects = [sample.gt_instances.bboxes for sample in samples]
    gaps = torch.cdist(problem.boxes.gt_boxes, torch.cat(objects), p=torch.inf)
    assert gaps.amin(1).max() < 1e-3
    owner = torch.tensor([0, 0, 1, 1, 1])[gaps.argmin(1)]
    assert torch.equal(owner, image[problem.positives])
    assert {0, 1} == set(owner.tolist())


@pytest.mark.parametrize("border", [0, -1])
def test_retinanet_counts_the_anchors_of_each_level(border):
    # ATSS takes candidates level by level; ATSSHead, which knows its levels, is the reference.
    ours, theirs = (problem_of(name, border)[0] for name in ("retina_atss", "atss"))
    assert torch.equal(ours.labels, theirs.labels)
    assert torch.equal(ours.label_weights, theirs.label_weights)
    assert torch.equal(ours.positives, theirs.positives)
    torch.testing.assert_close(ours.boxes.gt_boxes, theirs.boxes.gt_boxes)
    torch.testing.assert_close(ours.boxes.centers, theirs.boxes.centers)
