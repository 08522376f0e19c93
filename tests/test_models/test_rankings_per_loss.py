"""Every head ranks each of its problems once, whatever other tasks it has."""

import dense_heads
import instance_segmentors
import pytest
import rcnn
import torch
import transformer_detectors
from mmdet.models.losses import GIoULoss
from synthetic import make_batch, make_features

from mmdet_rank.criteria import BoxTask, RankingCriterion, RankingProblem, instance_weights
from mmdet_rank.losses import APLoss, RankSortLoss, aLRPLoss

LOSSES = {"RankSortLoss": RankSortLoss, "aLRPLoss": aLRPLoss, "APLoss": APLoss}

every_loss = pytest.mark.parametrize("loss", LOSSES)


@pytest.fixture
def rankings(monkeypatch):
    """Names of the rankings that have been made."""
    made = []

    def count(name, function):
        return lambda *args, **kwargs: made.append(name) or function(*args, **kwargs)

    for name, loss in LOSSES.items():
        monkeypatch.setattr(loss, "rank", count(name, loss.rank))
    weights = count("weights", instance_weights.ranking_weights)
    monkeypatch.setattr(instance_weights, "ranking_weights", weights)
    return made


@every_loss
@pytest.mark.parametrize("name", dense_heads.HEADS)
def test_dense_heads(name, loss, rankings):
    head = dense_heads.build_head(name, loss)
    head.loss(make_features(2), make_batch((2, 1))[1])
    assert rankings == [loss]


@every_loss
@pytest.mark.parametrize("name", instance_segmentors.SEGMENTORS)
def test_one_stage_segmentors(name, loss, rankings):
    model = instance_segmentors.build_segmentor(name, loss)
    assert "balance_mask" in model.loss(*make_batch((2, 1), masks=True))
    assert rankings == [loss]


@every_loss
@pytest.mark.parametrize(
    ("name", "problems"), [("faster", 2), ("mask", 2), ("cascade", 4), ("cascade_mask", 4)]
)
def test_two_stages_and_cascades(name, problems, loss, rankings):
    rcnn.build_detector(name, loss).loss(*rcnn.batch_for(name))
    assert rankings == [loss] * problems


@every_loss
@pytest.mark.parametrize(
    ("name", "problems"), [("deformable_detr", 2), ("deformable_detr_two_stage", 3), ("dino", 5)]
)
def test_transformers(name, problems, loss, rankings):
    model = transformer_detectors.build_detector(name, loss)
    model.loss(*make_batch((2, 1)))
    assert rankings == [loss] * problems


def test_weights_by_rank_are_computed_once_for_boxes_and_masks(rankings):
    options = dict(criterion=dict(instance_weight="ranking"))
    model = instance_segmentors.build_segmentor("yolact", **options)
    model.loss(*make_batch((2, 1), masks=True))
    assert rankings == ["RankSortLoss", "weights"]


def dense_and_sparse(criterion, arguments, losses):
    """Holds the loss of a problem, which is told places, against that of its dense targets."""
    (problem,) = arguments
    flat, targets = problem.logits.reshape(-1), criterion.targets(problem)
    assert torch.equal((targets > 0).nonzero().squeeze(1), problem.positive_places)
    expected = criterion.loss_cls.rank(flat, targets, losses.unit_errors)
    assert torch.equal(losses["loss_cls"], expected.cls * criterion.loss_weight)
    for sparse, dense in ((losses.ranked.cls, expected.cls), (losses.ranked.loc, expected.loc)):
        assert (sparse is None) == (dense is None)
        if sparse is not None and sparse.requires_grad:
            inputs = problem.logits if sparse is losses.ranked.cls else losses.unit_errors
            gradients = [
                torch.autograd.grad(x, inputs, retain_graph=True)[0] for x in (sparse, dense)
            ]
            assert torch.equal(*gradients)
    criterion.compared = (targets > 0).sum().item(), (targets < 0).sum().item()


def compare(model, *inputs):
    """Numbers of positives and ignored logits in each problem of a model that was compared."""
    criteria = [m for m in model.modules() if isinstance(m, RankingCriterion)]
    for criterion in criteria:
        criterion.register_forward_hook(dense_and_sparse)
    model.loss(*inputs)
    assert all(criterion.compared[0] for criterion in criteria)
    return [criterion.compared for criterion in criteria]


@every_loss
def test_places_give_the_bits_of_dense_targets(loss):
    ignored = 0
    for name in dense_heads.HEADS:
        head = dense_heads.build_head(name, loss)
        ((_, number),) = compare(head, make_features(2), make_batch((2, 1))[1])
        ignored += number
    assert ignored > 0
    model = instance_segmentors.build_segmentor("solov2", loss)
    assert len(compare(model, *make_batch((2, 1), masks=True))) == 1
    assert len(compare(rcnn.build_detector("cascade", loss), *rcnn.batch_for("cascade"))) == 4
    dino = transformer_detectors.build_detector("dino", loss)
    assert len(compare(dino, *make_batch((2, 1)))) >= 1


@pytest.mark.parametrize("weigh", ["ranking", "score"])
@pytest.mark.parametrize("loss", [RankSortLoss, APLoss, aLRPLoss])
def test_ignored_priors_in_a_problem(loss, weigh):
    gen = torch.Generator().manual_seed(1)
    positives = torch.tensor([1, 4, 5, 19])
    gt_boxes = torch.tensor([[4.0, 4, 24, 28]]).repeat(4, 1) + torch.rand(4, 4, generator=gen)
    boxes = (gt_boxes + 4 * torch.randn(4, 4, generator=gen)).requires_grad_()
    boxes.data[2] = gt_boxes[2] + 100  # a positive that misses its object stays one
    problem = RankingProblem(
        logits=torch.randn(20, 3, generator=gen).requires_grad_(),
        labels=torch.full((20,), 3).index_copy_(0, positives, torch.tensor([2, 0, 1, 1])),
        positives=positives,
        label_weights=torch.ones(20).index_fill_(0, torch.tensor([0, 2, 3, 18]), 0.0),
        boxes=BoxTask(boxes, gt_boxes, boxes, gt_boxes),
    )
    if loss is aLRPLoss:
        weigh = "ranking"
    criterion = RankingCriterion(loss(), GIoULoss(), weigh, balance="constant")
    losses = criterion(problem)
    dense_and_sparse(criterion, (problem,), losses)
    assert criterion.compared == (4, 12)
    if weigh == "ranking" and loss is not aLRPLoss:
        expected = instance_weights.ranking_weights(
            problem.logits.reshape(-1), criterion.targets(problem), delta=1.5
        )
        assert torch.equal(losses.weights, expected)


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("tau", [0.5, 0.7])
def test_weights_of_the_one_ranking_are_those_of_another(tau, grad):
    torch.manual_seed(0)
    gt_boxes = torch.tensor([[4.0, 4, 24, 28], [30, 30, 60, 58], [10, 30, 34, 50]])
    boxes = (gt_boxes + torch.randn(3, 4)).requires_grad_()
    problem = RankingProblem(
        logits=torch.randn(20, 4, requires_grad=True),
        labels=torch.full((20,), 4).index_fill_(0, torch.tensor([2, 9, 11]), 1),
        positives=torch.tensor([2, 9, 11]),
        boxes=BoxTask(boxes, gt_boxes, boxes, gt_boxes),
    )
    criterion = RankingCriterion(aLRPLoss(tau=tau, loss_weight=3.0), GIoULoss(), balance="value")
    with torch.set_grad_enabled(grad):
        losses = criterion(problem)
    assert not losses.weights.requires_grad
    torch.testing.assert_close(losses.weights, criterion.weights(problem), rtol=0, atol=0)
    assert losses.positives is problem.positives
