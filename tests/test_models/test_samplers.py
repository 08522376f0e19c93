"""Samplers of chapter 4 in Faster R-CNN and its rank-trained kin."""

import pytest
import torch
from mmdet.models.task_modules.assigners import AssignResult
from mmdet.registry import MODELS, TASK_UTILS
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from rcnn import batch_for, build_detector, detector_config, losses_of
from synthetic import make_sample
from torchvision.ops import box_iou

GENERATED = dict(type="GeneratedPositivesSampler", num=16, pos_fraction=0.25)
OFB = dict(type="OnlineForegroundBalancedSampler")


def stock(sampler):
    """MMDetection's own RoI head on the ranking RPN."""
    box = dict(
        type="Shared2FCBBoxHead", reg_decoded_bbox=False,
        loss_cls=dict(type="CrossEntropyLoss"), loss_bbox=dict(type="L1Loss"),
    )  # fmt: skip
    config = detector_config(box=box, sampler=sampler, type="StandardRoIHead")
    del config.roi_head.bbox_head["criterion"]
    init_default_scope("mmdet")
    model = MODELS.build(config)
    model.init_weights()
    return model.train()


def sampled(model, images, samples):
    """Sampling results of a step, as its box head gets them."""
    results = []
    sample = type(model.roi_head.bbox_sampler).sample

    class Listening(type(model.roi_head.bbox_sampler)):
        def sample(self, *args, **kwargs):
            results.append(sample(self, *args, **kwargs))
            return results[-1]

    model.roi_head.bbox_sampler.__class__ = Listening
    losses = losses_of(model, images, samples)
    return results, losses


def assigned(labels):
    """An assignment of proposals, label -1 for background, each positive to an object."""
    labels = torch.tensor(labels)
    gt_inds = torch.zeros_like(labels)
    gt_inds[labels >= 0] = torch.arange(1, int((labels >= 0).sum()) + 1)
    return AssignResult(int((labels >= 0).sum()), gt_inds, torch.rand(len(labels)), labels)


def proposals(num):
    corner = torch.rand(num, 2) * 20
    return InstanceData(priors=torch.cat([corner, corner + 10], 1))


def test_foreground_balanced_positives():
    torch.manual_seed(0)
    result = assigned([0] * 60 + [1] * 3 + [-1] * 40)
    objects = InstanceData(bboxes=proposals(63).priors, labels=result.labels[:63])
    sampler = TASK_UTILS.build(
        OFB | dict(num=32, pos_fraction=0.25, add_gt_as_proposals=False, context=None)
    )
    rare = negatives = 0
    for _ in range(100):
        found = sampler.sample(result, proposals(103), objects)
        assert len(found.pos_inds) == 8
        assert len(found.neg_inds) == 24
        assert (found.neg_inds >= 63).all()
        rare += (found.pos_gt_labels == 1).sum().item()
        negatives += found.neg_inds.float().mean().item() / 100
    # About 2.5 of the three of the rare class each time; a random sampler has 0.4.
    assert 2.2 < rare / 100 < 2.8
    assert negatives == pytest.approx((63 + 102) / 2, abs=2)


def test_foreground_balanced_positives_with_hard_negatives():
    torch.manual_seed(0)
    combined = dict(
        type="CombinedSampler", num=16, pos_fraction=0.25, add_gt_as_proposals=True,
        pos_sampler=OFB, neg_sampler=dict(type="OHEMSampler"),
    )  # fmt: skip
    model = stock(combined)
    results, losses = sampled(model, *batch_for("faster", (3, 1)))
    assert [len(result.pos_inds) <= 4 for result in results] == [True, True]
    assert [len(result.pos_inds) + len(result.neg_inds) for result in results] == [16, 16]
    assert losses["loss_cls"] > 0


@pytest.mark.parametrize("build", [stock, lambda s: build_detector("faster", sampler=s),
                                   lambda s: build_detector("mask", sampler=s)])  # fmt: skip
def test_generated_positives(build):
    torch.manual_seed(0)
    model = build(GENERATED)
    # The first object reaches into the lower right corner of a wide image.
    boxes = [[62.0, 34, 96, 64], [6, 8, 40, 30]]
    shape = (64, 96)
    samples = [
        make_sample(*objects, shape, model.with_mask) for objects in ((boxes, [1, 3]), ([], []))
    ]
    images = torch.randn(2, 3, *shape)
    results, losses = sampled(model, images, samples)
    objects = samples[0].gt_instances
    found = results[0]
    assert len(found.pos_priors) == 4
    assert len(found.neg_priors) == 12
    ious = box_iou(objects.bboxes, found.pos_priors)[found.pos_assigned_gt_inds, range(4)]
    assert (ious >= 0.5).all()
    assert torch.equal(found.pos_gt_labels, objects.labels[found.pos_assigned_gt_inds])
    assert torch.equal(found.pos_gt_bboxes, objects.bboxes[found.pos_assigned_gt_inds])
    assert sorted(found.pos_assigned_gt_inds.tolist()) == [0, 0, 1, 1]
    assert found.pos_priors.min() >= 0
    assert found.pos_priors[:, 0::2].max() <= 96
    assert found.pos_priors[:, 1::2].max() <= 64
    assert box_iou(objects.bboxes, found.neg_priors).max() < 0.5
    assert len(results[1].pos_priors) == 0
    assert len(results[1].neg_priors) == 16
    assert all(value.isfinite() for value in losses.values())
    if "num_pos" in losses:
        assert losses["num_pos"] == 4
    gradients = [p.grad for p in model.roi_head.parameters() if p.requires_grad]
    assert all(grad is not None and grad.isfinite().all() for grad in gradients)


def test_proposal_network_is_untouched():
    # Its losses and gradients are those that it has beside any other sampler (T1678).
    found = []
    for sampler in (GENERATED, None):
        torch.manual_seed(0)
        model = build_detector(sampler=sampler)
        model.neck.requires_grad_(False)
        model.backbone.requires_grad_(False)
        losses = losses_of(model, *batch_for("faster", (2, 1)))
        found.append([losses["loss_rpn_cls"], losses["loss_rpn_bbox"]])
        found[-1] += [p.grad for p in model.rpn_head.parameters()]
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_hard_positives_are_mined():
    torch.manual_seed(0)
    model = stock(GENERATED | dict(num_generated=40, nms_iou=0.9))
    images, samples = batch_for("faster", (2, 1))
    losses = []
    mining = model.roi_head.bbox_sampler.miner.hard_mining

    def listening(inds, num_expected, boxes, labels, feats):
        order = mining(inds, num_expected, boxes, labels, feats)
        with torch.no_grad():
            rois = torch.cat([boxes.new_zeros(len(boxes), 1), boxes], 1)
            score = model.roi_head._bbox_forward(feats, rois)["cls_score"]
        losses.append((boxes, torch.nn.functional.cross_entropy(score, labels, reduction="none")))
        return order

    model.roi_head.bbox_sampler.miner.hard_mining = listening
    results, _ = sampled(model, images, samples)
    for result, (boxes, loss) in zip(results, losses, strict=True):
        assert len(boxes) == 40
        # Greedily: the hardest, then the next that overlaps with none before by more than 0.9.
        kept = []
        for place in loss.argsort(descending=True).tolist():
            if not kept or box_iou(boxes[[place]], boxes[kept]).max() <= 0.9:
                kept.append(place)
        torch.testing.assert_close(result.pos_priors, boxes[kept[:4]])


def test_mistakes():
    with pytest.raises(ValueError, match="RankShared2FCBBoxHead, which ranks"):
        build_detector(sampler=GENERATED | dict(num_generated=40))
    with pytest.raises(ValueError, match=r"at least the 4 positives .*, but got 3"):
        stock(GENERATED | dict(num_generated=3))
    with pytest.raises(ValueError, match=r"Expected a head of RoIs for Gen.*but got RankRPNHead"):
        build_detector(rpn_sampler=GENERATED)
    with pytest.raises(ValueError, match="but got 'skewed'"):
        stock(GENERATED | dict(weights="skewed"))
