"""The Triton kernels against the torch code and the dense definition.

Runs on a CUDA device, and on the CPU when TRITON_INTERPRET=1 is set before anything is imported;
``test_kernels_interpreted.py`` does that in a process of its own.
"""

import os

import pytest
import torch
from dense_losses import dense_average_lrp, dense_average_precision, dense_rank_sort
from ranking_cases import assert_close, draw

from mmdet_rank.ops import (
    average_lrp_loss,
    average_precision_loss,
    rank_sort_loss,
    ranking_weights,
    unit_step,
)
from mmdet_rank.ops.kernels import use_kernels
from mmdet_rank.ops.knots import KnotTable
from mmdet_rank.ops.negatives import LocatedNegatives
from mmdet_rank.ops.ranking import Blame, rank_examples
from mmdet_rank.ops.roles import read_roles

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
if INTERPRETED:
    device = torch.device("cpu")
elif torch.cuda.is_available():
    device = torch.device("cuda")
    pytestmark = pytest.mark.cuda
else:
    pytest.skip("no CUDA device, and the interpreter is not on", allow_module_level=True)
CASES = 10 if INTERPRETED else 1000


def gradient_of(loss, logits):
    return torch.autograd.grad(loss, logits, retain_graph=True)[0].cpu()


def rank(logits, targets, delta):
    roles = read_roles(logits, targets, None, None, None, delta, check_finite=False)
    return rank_examples(logits, roles, delta)


def dense_and_sparse(logits, targets):
    """Options of a loss that say the same, by name."""
    index, ignored = ((mask).nonzero().squeeze(1) for mask in (targets > 0, targets < 0))
    return [dict(targets=targets), dict(positives=index, ignored=ignored)]


def test_the_kernels_do_the_work():
    assert use_kernels(device, 10)
    assert rank(torch.zeros(1, device=device), torch.ones(1, device=device), 0.5).by_kernels


def test_rank_sort_equals_the_definition():
    for seed in range(CASES):
        logits, targets, _, delta = draw(seed)
        expected = dense_rank_sort(logits, targets, delta)
        logits = logits.to(device).requires_grad_()
        ranking, sorting = rank_sort_loss(logits, targets.to(device), delta=delta)
        for part, value, gradient in ((ranking, *expected[::2]), (sorting, *expected[1::2])):
            assert_close(part.cpu(), value, torch.float32)
            assert_close(gradient_of(part, logits), gradient, torch.float32)


def test_dense_and_sparse_agree_bit_for_bit():
    for seed in range(0, CASES, 2):
        logits, targets, loc_errors, delta = draw(seed)
        logits, targets, loc_errors = (x.to(device) for x in (logits, targets, loc_errors))
        labels = targets[targets > 0]
        results = []
        for options in dense_and_sparse(logits, targets):
            leaf = logits.clone().requires_grad_()
            labelled = options | ({} if "targets" in options else dict(labels=labels))
            losses = [
                *rank_sort_loss(leaf, **labelled, delta=delta),
                *average_lrp_loss(leaf, loc_errors=loc_errors, **options, delta=delta),
                average_precision_loss(leaf, **options, delta=delta),
            ]
            gradients = [gradient_of(loss, leaf) for loss in (*losses[:3], losses[4])]
            weights = ranking_weights(leaf, **options, delta=delta, hard=seed % 4 == 0)
            results.append([*losses, *gradients, weights])
        assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_average_lrp_equals_the_definition():
    for seed in range(CASES):
        logits, targets, loc_errors, delta = draw(seed)
        cls, loc, gradient, weights = dense_average_lrp(logits, targets, loc_errors, delta)
        logits = logits.to(device).requires_grad_()
        loc_errors = loc_errors.to(device).requires_grad_()
        parts = average_lrp_loss(logits, targets.to(device), loc_errors, delta=delta)
        assert_close(parts[0].cpu(), cls, torch.float32)
        assert_close(parts[1].cpu(), loc, torch.float32)
        assert_close(gradient_of(parts[0], logits), gradient, torch.float32)
        assert_close(gradient_of(parts[1], loc_errors), weights, torch.float32)


def test_average_precision_equals_the_definition():
    for seed in range(CASES):
        logits, targets, _, delta = draw(seed)
        value, gradient = dense_average_precision(logits, targets, delta)
        logits = logits.to(device).requires_grad_()
        loss = average_precision_loss(logits, targets.to(device), delta=delta)
        assert_close(loss.cpu(), value, torch.float32)
        assert_close(gradient_of(loss, logits), gradient, torch.float32)


@pytest.mark.parametrize("delta", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("size", [1, 1023, 2500])
def test_count_and_spread_are_the_sums_over_all_pairs(delta, dtype, size):
    gen = torch.Generator().manual_seed(size)
    logits = (torch.randn(size, generator=gen) * 4 - 2).to(dtype).to(device).requires_grad_()
    targets = torch.where(torch.rand(size, generator=gen) < 0.1, -1.0, 0.0)
    targets[torch.randperm(size, generator=gen)[:37]] = 0.5
    targets = targets.to(device)
    check_count_and_spread(logits, targets, delta)


def check_count_and_spread(logits, targets, delta):
    ranking = rank(logits, targets, delta)
    points = logits.detach().double()
    scores, negative = points[targets > 0], targets == 0
    # The numbers by interval are those of the torch code, to the last.
    table = KnotTable(scores, delta, torch.float32)
    expected = LocatedNegatives(logits.detach(), ranking.roles, table).histogram
    assert torch.equal(ranking.histogram.counts[1:], expected.counts[1:])
    step = unit_step(points[None, :] - scores[:, None], delta) * negative
    rank_of_all = unit_step(scores[None, :] - scores[:, None], delta).sum(1) + step.sum(1)
    weights = ranking.blame("weights", None).weights
    back = unit_step(scores[:, None] - scores[None, :], delta) @ (1 / rank_of_all) / len(scores)
    assert_close(weights.cpu(), back.cpu(), torch.float32)
    shares = torch.rand(len(scores), dtype=torch.float64, device=device)
    own = torch.rand(2, len(scores), dtype=torch.float64, device=device)
    scales = torch.tensor(3.0, device=device), torch.tensor(0.5, device=device)
    for first, second in (scales, (None, scales[1]), (scales[0], None)):
        gradient = ranking.gradient(logits.detach(), Blame((), own, shares), (first, second))
        assert gradient.dtype == logits.dtype
        factors = [0.0 if scale is None else scale.item() for scale in (first, second)]
        wanted = factors[0] * (shares @ step)
        wanted[targets > 0] = factors[0] * own[0] + factors[1] * own[1]
        bound = max(torch.finfo(logits.dtype).eps, 1e-5) * max(wanted.abs().sum().item(), 1e-3)
        assert (gradient.double() - wanted).abs().max() <= bound
        assert (gradient[targets < 0] == 0).all()


def test_crowded_intervals():
    # First iterations: nearly all logits are in the one interval between -delta and +delta.
    gen = torch.Generator().manual_seed(0)
    logits = torch.randn(5000, generator=gen) * 0.01 - 4.6
    logits[::700] = torch.tensor([-4.1, -5.1, -7.0, 0.0, -4.095, -torch.inf, 10.0, -5.1])
    targets = torch.where(torch.rand(5000, generator=gen) < 0.3, -1.0, 0.0)
    targets[1024:2048] = -1.0
    targets[1:1000:50] = 1.0
    check_count_and_spread(logits.to(device).requires_grad_(), targets.to(device), 0.5)


@pytest.mark.parametrize("num_positives", [1, 2, 40])
def test_equal_and_far_apart_positives(num_positives):
    # All knots in one cell of the table, and most of its cells without any.
    gen = torch.Generator().manual_seed(num_positives)
    for spread in (0.0, 1e-6, 1e4):
        logits = torch.randn(2000, generator=gen) * spread
        targets = torch.zeros(2000)
        targets[:num_positives] = 1.0
        check_count_and_spread(logits.to(device).requires_grad_(), targets.to(device), 0.5)


def test_no_example_of_ones_own():
    # A process without examples counts nothing among the others' positives.
    from mmdet_rank.ops.kernels.knots import SortedKnots
    from mmdet_rank.ops.kernels.negatives import CountedNegatives

    empty = torch.zeros(0, device=device)
    table = SortedKnots(torch.arange(5.0, device=device).double(), 0.5, 0)
    roles = read_roles(empty, empty, None, None, None, 0.5, check_finite=False)
    negatives = CountedNegatives(empty, roles, table, keep=True)
    assert not negatives.histogram.counts.any()
    tables = torch.zeros(table.num_intervals, 2, device=device)
    assert negatives.write(empty, tables, empty).shape == (0,)


def test_extreme_logits():
    inf = torch.inf
    logits = torch.tensor([1.0, -inf, inf, 0.0, 3e38, -3e38, torch.nan], device=device)
    targets = torch.tensor([0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], device=device)
    logits.requires_grad_()
    ranking, _ = rank_sort_loss(logits, targets)
    assert ranking.item() == pytest.approx(2 / 2.5)
    gradient = gradient_of(ranking, logits)
    assert gradient.tolist() == pytest.approx([-0.8, 0.0, 0.4, 0.0, 0.4, 0.0, 0.0], abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision(dtype):
    gen = torch.Generator().manual_seed(0)
    logits = (torch.randn(1500, generator=gen) * 2 - 3).to(dtype)
    targets = torch.zeros(1500)
    targets[::50] = torch.rand(30, generator=gen).clamp(min=0.01)
    expected = dense_rank_sort(logits, targets, 0.5)[2]
    scale = 1024.0
    logits = logits.to(device).requires_grad_()
    ranking, _ = rank_sort_loss(logits, targets.to(device))
    gradient = gradient_of(ranking * scale, logits)
    assert gradient.dtype == dtype
    error = torch.linalg.norm(gradient.double() / scale - expected)
    assert error <= torch.finfo(dtype).eps * torch.linalg.norm(expected)


def test_strided_input_and_repeated_runs():
    gen = torch.Generator().manual_seed(0)
    both = torch.randn(3001, 2, generator=gen).to(device)
    targets = torch.zeros(3001, 2, device=device)
    targets[::50, 0] = 0.5
    runs = []
    for logits, labels in ((both[:, 0], targets[:, 0]), (both[:, 0].clone(), targets[:, 0])):
        logits = logits.detach().requires_grad_()
        ranking, sorting = rank_sort_loss(logits, labels)
        runs.append((ranking.detach(), gradient_of(ranking + sorting, logits)))
    assert torch.equal(runs[0][0], runs[1][0])
    assert torch.equal(runs[0][1], runs[1][1])
