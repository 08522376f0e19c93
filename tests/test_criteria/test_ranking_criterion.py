"""Weights and balances of the criterion, by values worked out here."""

import math

import pytest
import torch
from mmdet.models.losses import GIoULoss, SmoothL1Loss
from mmdet.structures.bbox import bbox_overlaps

from mmdet_rank.criteria import BoxTask, MaskTask, RankingCriterion, RankingProblem
from mmdet_rank.criteria.balance import EpochBalance, gradient
from mmdet_rank.criteria.localization import box_errors
from mmdet_rank.losses import APLoss, RankSortLoss, aLRPLoss
from mmdet_rank.ops import average_lrp_loss, rank_sort_loss


def make_problem(seed=0, perfect=False):
    gen = torch.Generator().manual_seed(seed)
    logits = torch.randn(40, 3, generator=gen).requires_grad_()
    labels = torch.full((40,), 3)
    positives = torch.tensor([3, 7, 11, 30])
    labels[positives] = torch.tensor([0, 2, 2, 1])
    corner = torch.rand(4, 2, generator=gen) * 20
    gt = torch.cat([corner, corner + 10 + torch.rand(4, 2, generator=gen) * 10], dim=1)
    offsets = torch.zeros(4, 4) if perfect else torch.randn(4, 4, generator=gen)
    outputs = offsets.requires_grad_()
    pred = gt + outputs * 3
    centers = (gt[:, :2] + gt[:, 2:]) / 2 + torch.tensor([2.0, -1.0])
    boxes = BoxTask(pred, gt, pred, gt, centers=centers, outputs=outputs)
    return RankingProblem(logits=logits, labels=labels, positives=positives, boxes=boxes)


def reference(problem):
    """(ranking + sorting, GIoU loss of each positive, IoU of each), without the criterion."""
    iou = bbox_overlaps(problem.boxes.pred, problem.boxes.gt_boxes, is_aligned=True).detach()
    giou = bbox_overlaps(problem.boxes.pred, problem.boxes.gt_boxes, mode="giou", is_aligned=True)
    targets = torch.zeros(40, 3)
    targets[problem.positives, problem.labels[problem.positives]] = iou
    cls = sum(rank_sort_loss(problem.logits.flatten(), targets.flatten()))
    return cls, 1 - giou, iou, targets.flatten()


def test_rank_sort_by_score_and_value():
    problem = make_problem()
    losses = RankingCriterion(RankSortLoss(), GIoULoss(loss_weight=7.0))(problem)
    cls, errors, _, _ = reference(problem)
    weights = problem.logits[problem.positives].sigmoid().amax(1)
    mean = (weights * errors).sum() / weights.sum()
    torch.testing.assert_close(losses["loss_cls"], cls)
    # Balanced by value, the box loss equals the ranking loss, whatever its own weight.
    torch.testing.assert_close(losses["loss_bbox"], cls)
    torch.testing.assert_close(losses["balance_bbox"], (cls / (7 * mean)).detach())
    assert losses["num_pos"] == 4
    torch.testing.assert_close(losses["ranking"] + losses["sorting"], cls.detach())


@pytest.mark.parametrize("name", ["score", "iou", "centerness", "ranking", "none"])
def test_instance_weights(name):
    problem = make_problem(1)
    criterion = RankingCriterion(
        RankSortLoss(), GIoULoss(loss_weight=2.0), instance_weight=name, balance="constant"
    )
    losses = criterion(problem)
    _, errors, iou, targets = reference(problem)
    gt = problem.boxes.gt_boxes
    left_top = problem.boxes.centers - gt[:, :2]
    right_bottom = gt[:, 2:] - problem.boxes.centers
    ratio = torch.minimum(left_top, right_bottom) / torch.maximum(left_top, right_bottom)
    flat = problem.logits.detach().flatten()
    positive = (targets > 0).nonzero().squeeze(1)
    step = ((flat[None, :] - flat[:, None]) / 3.0 + 0.5).clamp(0, 1)  # delta_loc is 1.5
    rank = step[positive].sum(1)
    expected = dict(
        score=problem.logits[problem.positives].sigmoid().amax(1),
        iou=iou,
        centerness=(ratio[:, 0] * ratio[:, 1]).sqrt(),
        ranking=(step[positive][:, positive] / rank[:, None]).sum(0) / 4,
        none=torch.ones(4),
    )[name]
    expected_loss = 2 * (expected * errors).sum() / expected.sum()
    torch.testing.assert_close(losses["loss_bbox"], expected_loss)
    assert losses["balance_bbox"] == 1


@pytest.mark.parametrize("delta_loc", [0.0, 0.5, 2.0, None])
def test_step_of_ranking_weights(delta_loc):
    # Thesis Table N.2; None is its "default": hard above, smoothed by the loss's delta below.
    problem = make_problem(1)
    criterion = RankingCriterion(
        RankSortLoss(), GIoULoss(), instance_weight="ranking", delta_loc=delta_loc
    )
    flat = problem.logits.detach().flatten().double()
    positive = (reference(problem)[3] > 0).nonzero().squeeze(1)

    def step(delta):
        difference = flat[None, :] - flat[positive, None]
        if delta == 0:
            return (difference >= 0).double()
        return (difference / (2 * delta) + 0.5).clamp(0, 1)

    rank = step(0.5 if delta_loc is None else delta_loc).sum(1)
    numerator = step(delta_loc or 0.0)[:, positive]
    expected = (numerator / rank[:, None]).sum(0) / 4
    torch.testing.assert_close(criterion.weights(problem).double(), expected, rtol=1e-6, atol=1e-7)


def test_negative_step_of_ranking_weights():
    with pytest.raises(ValueError, match="Expected delta_loc >= 0 or None, but got -1"):
        RankingCriterion(RankSortLoss(), GIoULoss(), delta_loc=-1)


@pytest.mark.parametrize("delta_loc", [0.5, 1.5, None])
def test_a_step_that_nothing_is_weighed_by_is_refused(delta_loc):
    # A grid over it would give so many equal trainings.
    for loss in (RankSortLoss(), APLoss()):
        with pytest.raises(ValueError, match="instance_weight='ranking' with delta_loc, but got"):
            RankingCriterion(loss, GIoULoss(), delta_loc=delta_loc)
    with pytest.raises(ValueError, match="but got 'iou'"):
        RankingCriterion(RankSortLoss(), GIoULoss(), "iou", delta_loc=delta_loc)
    for weight in (None, "ranking"):
        with pytest.raises(ValueError, match="Expected no delta_loc with aLRPLoss, whose weights"):
            RankingCriterion(aLRPLoss(), GIoULoss(), weight, delta_loc=delta_loc)
    assert RankingCriterion(RankSortLoss(), GIoULoss(), "ranking").delta_loc == 1.5


def test_centerness_by_hand():
    # Objects of 20 x 10 pixels at (10, 10). Centres inside, on the edge, and outside on each side:
    # two factors below 0 would give a product above it.
    centers = torch.tensor(
        [[15.0, 14], [20, 15], [30, 15], [31, 15], [9, 15], [20, 9], [8, 8], [32, 22]]
    )
    gt = torch.tensor([[10.0, 10, 30, 20]]).repeat(8, 1)
    pred = (gt + 1).requires_grad_()
    problem = RankingProblem(
        logits=torch.zeros(8, 1, requires_grad=True),
        labels=torch.zeros(8, dtype=torch.long),
        positives=torch.arange(8),
        boxes=BoxTask(pred, gt, pred, gt, centers=centers),
    )
    criterion = RankingCriterion(RankSortLoss(), GIoULoss(), instance_weight="centerness")
    # 5 of 15 and 4 of 6 pixels.
    expected = torch.tensor([math.sqrt(5 / 15 * 4 / 6), 1.0, 0, 0, 0, 0, 0, 0])
    torch.testing.assert_close(criterion.weights(problem), expected)


def test_magnitude_balance():
    problem = make_problem(2)
    criterion = RankingCriterion(RankSortLoss(), GIoULoss(), "none", "magnitude")
    losses = criterion(problem)
    cls, errors, _, _ = reference(problem)
    of_logits = torch.autograd.grad(cls, problem.logits, retain_graph=True)[0].abs().sum()
    of_boxes = torch.autograd.grad(errors.mean(), problem.boxes.outputs, retain_graph=True)[0]
    torch.testing.assert_close(losses["balance_bbox"], of_logits / of_boxes.abs().sum())
    # And so the balanced losses have equal gradient magnitudes.
    grad = torch.autograd.grad(losses["loss_bbox"], problem.boxes.outputs)[0]
    torch.testing.assert_close(grad.abs().sum(), of_logits)


def test_alrp_ranks_localization_itself():
    problem = make_problem(3)
    criterion = RankingCriterion(aLRPLoss(tau=0.6), GIoULoss(loss_weight=3.0), balance="constant")
    losses = criterion(problem)
    _, errors, _, targets = reference(problem)
    # Halved GIoU loss over 1 - tau.
    cls, loc = average_lrp_loss(problem.logits.flatten(), (targets > 0).float(), errors / 2 / 0.4)
    torch.testing.assert_close(losses["loss_cls"], cls)
    torch.testing.assert_close(losses["loss_bbox"], 3 * loc)
    (grad,) = torch.autograd.grad(losses["loss_cls"], problem.logits)
    (expected,) = torch.autograd.grad(cls, problem.logits)
    torch.testing.assert_close(grad, expected)


def test_alrp_has_no_say_of_the_weight_but_with_a_constant():
    problem = make_problem(3)
    for balance in ("value", "magnitude", dict(type="epoch", period=5)):
        first, second = (
            RankingCriterion(aLRPLoss(), GIoULoss(loss_weight=weight), balance=balance)(problem)
            for weight in (1.0, 3.0)
        )
        torch.testing.assert_close(first["loss_bbox"], second["loss_bbox"])


@pytest.mark.parametrize("balance", ["constant", "value"])
def test_weight_of_masks_counts_with_a_constant_balance(balance):
    losses = []
    for weight in (1.0, 3.0):
        problem = make_problem(3)
        errors = torch.tensor([0.1, 0.4, 0.3, 0.2], requires_grad=True)
        problem.boxes, problem.masks = None, MaskTask(errors, errors, loss_weight=weight)
        problem.quality = 1 - errors.detach()
        losses.append(RankingCriterion(aLRPLoss(), balance=balance)(problem)["loss_mask"])
    expected = 3 if balance == "constant" else 1
    torch.testing.assert_close(losses[1], expected * losses[0])


def test_alrp_without_a_box_loss_is_refused():
    with pytest.raises(ValueError, match="loss_weight above 0 of loss_bbox with aLRPLoss"):
        RankingCriterion(aLRPLoss(), GIoULoss(loss_weight=0.0))


@pytest.mark.parametrize("balance", ["constant", "value", dict(type="epoch", period=5)])
@pytest.mark.parametrize("loss", [RankSortLoss(), aLRPLoss(tau=0.6, loss_weight=2.0), APLoss()])
def test_errors_beside_the_boxes_keep_their_ratio(loss, balance):
    # The very errors of the boxes, four times: so is their loss.
    problem = make_problem(3)
    box_loss = GIoULoss(loss_weight=3.0)
    criterion = RankingCriterion(loss, box_loss, balance=balance)
    losses = criterion(problem)
    errors = box_errors(box_loss, problem.boxes.pred, problem.boxes.target)
    torch.testing.assert_close(losses.box_loss_beside(4 * errors), 4 * losses["loss_bbox"])


def test_weights_of_alrp_are_those_of_its_localization_part():
    problem = make_problem(8)
    criterion = RankingCriterion(aLRPLoss(), GIoULoss(), balance="constant")
    errors = box_errors(GIoULoss(), problem.boxes.pred, problem.boxes.target) / 2
    expected = (criterion.weights(problem) * errors).sum()
    torch.testing.assert_close(criterion(problem)["loss_bbox"], expected)


@pytest.mark.parametrize("balance", ["constant", "value", dict(type="epoch", period=5)])
@pytest.mark.parametrize("loss", [RankSortLoss(), aLRPLoss(), APLoss()])
def test_some_of_the_masks_stand_for_all(loss, balance):
    problem = make_problem(3)
    criterion = RankingCriterion(loss, GIoULoss(), balance=balance)
    criterion.add_task("mask")
    losses = criterion(problem)
    # Of the same error, so that it does not matter which.
    errors = torch.full((4,), 0.4, requires_grad=True)
    every = losses.mask_losses(errors, errors)["loss_mask"]
    for chosen in ([2], [0, 3], [1, 2, 3]):
        part = errors[chosen]
        found = losses.mask_losses(part, part, 1.0, losses.weights[chosen])["loss_mask"]
        torch.testing.assert_close(found, every)
    shuffled = losses.weights[[3, 1, 0, 2]]
    torch.testing.assert_close(
        losses.mask_losses(errors, errors, 1.0, shuffled)["loss_mask"], every
    )
    none = losses.mask_losses(errors[:0], errors[:0], 1.0, losses.weights[:0])["loss_mask"]
    assert none.item() == 0


def test_ap_loss_averages_smooth_l1_over_the_four_numbers():
    problem = make_problem(4)
    losses = RankingCriterion(APLoss(), SmoothL1Loss(beta=1.0))(problem)
    difference = (problem.boxes.pred - problem.boxes.target).abs()
    smooth = torch.where(difference < 1, difference**2 / 2, difference - 0.5)
    torch.testing.assert_close(losses["loss_bbox"], smooth.mean())


def test_epoch_balance_follows_the_last_epoch():
    criterion = RankingCriterion(
        aLRPLoss(), GIoULoss(), balance=dict(type="epoch", period=3, initial=50.0)
    )
    plain = RankingCriterion(aLRPLoss(), GIoULoss(), balance="constant")
    totals, locs, factors = [], [], []
    for seed in range(7):
        problem = make_problem(seed)
        raw = plain(problem)
        totals.append((raw["loss_cls"] + raw["loss_bbox"]).item())
        locs.append(raw["loss_bbox"].item())
        losses = criterion(problem)
        factors.append(losses["balance_bbox"].item())
        assert losses["loss_bbox"].item() == pytest.approx(factors[-1] * locs[-1])
    first, second = (sum(totals[i : i + 3]) / sum(locs[i : i + 3]) for i in (0, 3))
    assert factors == pytest.approx([50.0] * 3 + [first] * 3 + [second])
    # Evaluation moves nothing.
    before = {key: value.clone() for key, value in criterion.state_dict().items()}
    criterion.eval()(make_problem(9))
    assert all(torch.equal(before[key], value) for key, value in criterion.state_dict().items())


def test_epoch_balance_goes_on_after_a_resume():
    def make():
        return RankingCriterion(aLRPLoss(), GIoULoss(), balance=dict(type="epoch", period=4))

    whole, first = make(), make()
    expected = [whole(make_problem(seed))["balance_bbox"].item() for seed in range(10)]
    actual = [first(make_problem(seed))["balance_bbox"].item() for seed in range(6)]
    resumed = make()
    resumed.load_state_dict(first.state_dict())
    actual += [resumed(make_problem(seed))["balance_bbox"].item() for seed in range(6, 10)]
    assert actual == expected


def test_epoch_balance_leaves_out_what_is_not_finite():
    def factors(values):
        balance = EpochBalance(period=3)
        nothing = torch.zeros(0)
        return [
            balance(torch.tensor(value), torch.tensor(0.5), nothing, nothing).item()
            for value in values
        ]

    nan, inf = math.nan, math.inf
    # (1 + 0.5 + 2 + 0.5) / (0.5 + 0.5); then nothing that counts, and the factor stays.
    assert factors([1.0, nan, 2.0, nan, inf, nan, 1.0]) == [50.0] * 3 + [4.0] * 4


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_magnitudes_of_many_negatives_survive_half_precision(dtype):
    # As many logits as of an image of 800 x 1333 pixels; the gradients of positives and negatives
    # are equal in sum (thesis, Theorem 2).
    logits = torch.zeros(2_000_000, dtype=dtype, requires_grad=True)
    targets = torch.zeros(2_000_000)
    targets[:10] = 1
    found = gradient(RankSortLoss().rank(logits, targets).cls, logits)
    assert found.dtype == torch.float32
    ratio = found[:10].abs().sum() / found[10:].abs().sum()
    assert ratio.item() == pytest.approx(1, rel=2e-3 if dtype != torch.bfloat16 else 5e-3)


@pytest.mark.parametrize("processes", [1, 16])
@pytest.mark.parametrize("weight", [1.0, 5.0, 40.0])
def test_the_greatest_gradient_is_finite_in_half_precision(monkeypatch, weight, processes):
    """That of an only positive below its negatives; several processes multiply it."""
    monkeypatch.setattr("mmdet_rank.criteria.balance.world_size", lambda: processes)
    logits = torch.tensor([-2.0, 1.0, 3.0, -1.5, 0.5], dtype=torch.float16, requires_grad=True)
    targets = torch.tensor([1.0, 0, 0, 0, 0])
    loss = processes * RankSortLoss(loss_weight=weight).rank(logits, targets).cls
    # As with `sync`, whose loss is the mean over the processes.
    found = gradient(loss - (processes - 1) * (loss / processes).detach(), logits)
    exact = logits.detach().double().requires_grad_()
    cls = RankSortLoss(loss_weight=weight).rank(exact, targets.double()).cls
    (expected,) = torch.autograd.grad(processes * cls, exact)
    torch.testing.assert_close(found, expected.float(), rtol=2e-3, atol=1e-5 * weight * processes)


def test_epoch_balance_on_a_device_without_float64(monkeypatch):
    monkeypatch.setattr(
        "mmdet_rank.criteria.balance.wide_dtype",
        lambda device: torch.float32 if device.type == "meta" else torch.float64,
    )
    balance = EpochBalance(period=3)
    for tensor in (balance.sums, balance.factor):
        assert tensor.dtype == (torch.float64 if tensor is balance.sums else torch.float32)

    def move(tensor):
        assert tensor.dtype != torch.float64
        return tensor.to("meta")

    balance._apply(move)
    assert {buffer.device.type for buffer in balance.buffers()} == {"meta"}
    assert balance.sums.dtype == torch.float32
    # Elsewhere nothing is lost, also in a model in half precision.
    assert EpochBalance(period=3).half().sums.dtype == torch.float64


def test_epoch_balance_without_a_period():
    criterion = RankingCriterion(aLRPLoss(), GIoULoss())
    with pytest.raises(ValueError, match="SelfBalanceHook"):
        criterion(make_problem())


@pytest.mark.parametrize("balance", ["value", "magnitude", dict(type="epoch", period=1)])
def test_factors_stay_bounded_at_perfect_boxes(balance):
    criterion = RankingCriterion(RankSortLoss(), GIoULoss(), balance=balance)
    for _ in range(2):
        problem = make_problem(5, perfect=True)
        losses = criterion(problem)
        assert losses["balance_bbox"] <= 200
        (losses["loss_cls"] + losses["loss_bbox"]).backward()
        assert problem.boxes.outputs.grad.isfinite().all()


def test_head_weight_comes_last():
    problem = make_problem(6)
    one = RankingCriterion(RankSortLoss(), GIoULoss())(problem)
    fifth = RankingCriterion(RankSortLoss(), GIoULoss(), loss_weight=0.2)(problem)
    for key in ("loss_cls", "loss_bbox"):
        torch.testing.assert_close(fifth[key], 0.2 * one[key])


def test_ignored_priors_do_not_rank():
    problem = make_problem(7)
    problem.label_weights = torch.ones(40)
    problem.label_weights[[0, 1, 2]] = 0
    RankingCriterion(RankSortLoss(), GIoULoss())(problem)["loss_cls"].backward()
    assert (problem.logits.grad[[0, 1, 2]] == 0).all()


def test_many_empty_iterations_are_told_once(monkeypatch):
    from mmdet_rank.criteria import ranking_criterion

    told = []
    monkeypatch.setattr(ranking_criterion, "print_log", lambda text, **kwargs: told.append(text))
    criterion = RankingCriterion(RankSortLoss(), GIoULoss())
    empty = RankingProblem(
        logits=torch.zeros(5, 2, requires_grad=True),
        labels=torch.full((5,), 2),
        positives=torch.zeros(0, dtype=torch.long),
        boxes=BoxTask(*(torch.zeros(0, 4, requires_grad=True) for _ in range(4))),
    )
    for _ in range(99):
        criterion(empty)
    # Evaluation is not a training, and a positive begins the count anew.
    for _ in range(150):
        criterion.eval()(empty)
    assert told == []
    criterion.train()(make_problem())
    for _ in range(99):
        criterion(empty)
    assert told == []
    for _ in range(150):
        criterion(empty)
    assert len(told) == 1
    assert "class names" in told[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(instance_weight="scores"), "instance_weight to be one of"),
        (dict(balance="values"), "balance to be one of"),
    ],
)
def test_unknown_options(options, message):
    with pytest.raises(ValueError, match=message):
        RankingCriterion(RankSortLoss(), GIoULoss(), **options)


def test_options_that_do_not_go_together():
    with pytest.raises(ValueError, match="ranks localisation errors itself"):
        RankingCriterion(aLRPLoss(), GIoULoss(), instance_weight="score")
    with pytest.raises(ValueError, match="GIoULoss, DIoULoss"):
        RankingCriterion(aLRPLoss(), SmoothL1Loss(), balance="constant")(make_problem())
    with pytest.raises(TypeError, match="use MMDetection's own head"):
        RankingCriterion(SmoothL1Loss(), GIoULoss())


def test_a_loss_that_was_computed_apart_from_the_outputs_is_refused():
    outputs = torch.ones(3, requires_grad=True)
    with pytest.raises(ValueError, match=r"as torch.compile does; do without that"):
        gradient((2 * torch.ones(3, requires_grad=True)).sum(), outputs)
    assert gradient((2 * outputs).sum(), outputs).tolist() == [2, 2, 2]
