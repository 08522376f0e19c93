"""Focal and quality focal loss in heads that rank, by values worked out here."""

import pytest
import torch
from mmdet.models.losses import FocalLoss, GIoULoss, QualityFocalLoss
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox_overlaps

from mmdet_rank.criteria import BoxTask, RankingProblem, ScoreCriterion
from mmdet_rank.losses import RankSortLoss

POSITIVES = torch.tensor([3, 7, 11, 30])


def make_problem(num_positives=4):
    gen = torch.Generator().manual_seed(0)
    logits = torch.randn(40, 3, generator=gen).requires_grad_()
    positives = POSITIVES[:num_positives]
    labels = torch.full((40,), 3)
    labels[positives] = torch.tensor([0, 2, 2, 1])[:num_positives]
    label_weights = torch.ones(40)
    label_weights[20:25] = 0
    corner = torch.rand(num_positives, 2, generator=gen) * 20
    gt = torch.cat([corner, corner + 15], dim=1)
    outputs = torch.randn(num_positives, 4, generator=gen).requires_grad_()
    pred = gt + outputs * 3
    centers = (gt[:, :2] + gt[:, 2:]) / 2 + torch.tensor([2.0, -1.0])
    boxes = BoxTask(pred, gt, pred, gt, centers=centers, outputs=outputs)
    return RankingProblem(logits, labels, positives, label_weights, boxes)


def one_hot(problem, values):
    targets = torch.zeros(40, 3, dtype=torch.float64)
    targets[problem.positives, problem.labels[problem.positives]] = values
    return targets


def entropy(probabilities, targets):
    return -(targets * probabilities.log() + (1 - targets) * (1 - probabilities).log())


@pytest.mark.parametrize("name", ["focal", "quality"])
def test_classification_over_the_number_of_positives(name):
    problem = make_problem()
    probabilities = problem.logits.detach().double().sigmoid()
    counted = problem.label_weights.double()[:, None]
    if name == "focal":
        loss, targets = FocalLoss(), one_hot(problem, 1.0)
        right = torch.where(targets > 0, probabilities, 1 - probabilities)
        alpha = torch.where(targets > 0, 0.25, 0.75)
        entries = alpha * (1 - right) ** 2 * entropy(probabilities, targets)
    else:
        iou = bbox_overlaps(problem.boxes.pred, problem.boxes.gt_boxes, is_aligned=True)
        loss, targets = QualityFocalLoss(), one_hot(problem, iou.detach().double())
        entries = (targets - probabilities) ** 2 * entropy(probabilities, targets)
    losses = ScoreCriterion(loss, GIoULoss())(problem)
    expected = (entries * counted).sum() / 4
    assert losses["loss_cls"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert losses["num_pos"] == 4


@pytest.mark.parametrize("weight", ["none", "score", "iou", "centerness"])
def test_boxes_over_the_sum_of_their_weights(weight):
    problem = make_problem()
    criterion = ScoreCriterion(FocalLoss(), GIoULoss(loss_weight=2.0), instance_weight=weight)
    boxes = problem.boxes
    weights = {
        "none": torch.ones(4),
        "score": problem.logits[problem.positives].sigmoid().amax(1),
        "iou": bbox_overlaps(boxes.pred, boxes.gt_boxes, is_aligned=True),
        # Of squares of side 15, the centre being 2 and 1 off the middle.
        "centerness": torch.full((4,), ((5.5 / 9.5) * (6.5 / 8.5)) ** 0.5),
    }[weight].detach()
    errors = 1 - bbox_overlaps(boxes.pred, boxes.gt_boxes, mode="giou", is_aligned=True)
    loss = criterion(problem)["loss_bbox"]
    torch.testing.assert_close(loss, 2 * (errors * weights).sum() / weights.sum())
    # Weights are no way for gradients.
    (gradient,) = torch.autograd.grad(loss, problem.logits, allow_unused=True)
    assert gradient is None


def test_other_errors_of_the_boxes_are_weighed_alike():
    problem = make_problem()
    criterion = ScoreCriterion(FocalLoss(), GIoULoss(loss_weight=2.0), instance_weight="iou")
    losses = criterion(problem)
    boxes = problem.boxes
    errors = 1 - bbox_overlaps(boxes.pred, boxes.gt_boxes, mode="giou", is_aligned=True)
    torch.testing.assert_close(losses.box_loss_beside(6 * errors), 3 * losses["loss_bbox"])


def test_no_positive_keeps_the_graph():
    problem = make_problem(0)
    losses = ScoreCriterion(QualityFocalLoss(), GIoULoss(), instance_weight="score")(problem)
    (losses["loss_cls"] + losses["loss_bbox"]).backward()
    assert losses["loss_bbox"].item() == 0
    assert problem.logits.grad.abs().sum() > 0
    assert problem.boxes.outputs.grad.shape == (0, 4)


def test_mistakes():
    with pytest.raises(TypeError, match=r"got RankSortLoss; leave criterion\.type out"):
        ScoreCriterion(RankSortLoss(), GIoULoss())
    with pytest.raises(ValueError, match="but got 'ranking'"):
        ScoreCriterion(FocalLoss(), GIoULoss(), instance_weight="ranking")
    with pytest.raises(ValueError, match="Expected a head with boxes"):
        ScoreCriterion(FocalLoss(), None)
    head = dict(
        type="RankYOLACTHead", num_classes=3, in_channels=8, loss_cls=dict(type="FocalLoss")
    )
    with pytest.raises(ValueError, match="Expected a head of boxes alone"):
        MODELS.build(head | dict(criterion=dict(type="ScoreCriterion")))
