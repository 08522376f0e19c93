"""The Triton kernels against the torch code and the dense definition.

Runs on a CUDA device, and on the CPU when TRITON_INTERPRET=1 is set before anything is imported;
``test_kernels_interpreted.py`` does that in a process of its own.
"""

import os

import pytest
import torch
from dense_losses import dense_average_lrp, dense_average_precision, dense_rank_sort
from ranking_cases import assert_close, draw

from mmdet_rank.ops import average_lrp_loss, average_precision_loss, rank_sort_loss, unit_step
from mmdet_rank.ops.kernels import use_kernels
from mmdet_rank.ops.knots import KnotTable
from mmdet_rank.ops.negatives import LocatedNegatives, locate_negatives
from mmdet_rank.ops.positives import sums_over_positives

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
if INTERPRETED:
    device = torch.device("cpu")
elif torch.cuda.is_available():
    device = torch.device("cuda")
    pytestmark = pytest.mark.cuda
else:
    pytest.skip("no CUDA device, and the interpreter is not on", allow_module_level=True)
CASES = 20 if INTERPRETED else 1000


def gradient_of(loss, logits):
    return torch.autograd.grad(loss, logits, retain_graph=True)[0].cpu()


def test_the_kernels_do_the_work():
    assert use_kernels(device, 10)
    table = KnotTable(torch.zeros(1, device=device, dtype=torch.float64), 0.5, torch.float32)
    logits = torch.zeros(1, device=device)
    assert not isinstance(locate_negatives(logits, logits, table), LocatedNegatives)


def test_rank_sort_equals_the_definition():
    for seed in range(CASES):
        logits, targets, _, delta = draw(seed)
        expected = dense_rank_sort(logits, targets, delta)
        logits = logits.to(device).requires_grad_()
        ranking, sorting = rank_sort_loss(logits, targets.to(device), delta=delta)
        for part, value, gradient in ((ranking, *expected[::2]), (sorting, *expected[1::2])):
            assert_close(part.cpu(), value, torch.float32)
            assert_close(gradient_of(part, logits), gradient, torch.float32)


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


@pytest.mark.parametrize("with_labels", [False, True])
def test_sums_over_positives(with_labels):
    for size in (1, 7, 8, 9, 129, 300):
        gen = torch.Generator().manual_seed(size)
        scores, labels = torch.randn(2, size, generator=gen, dtype=torch.float64)
        labels = (labels * 3).round()
        weights = torch.rand(2, size, generator=gen, dtype=torch.float64)
        for delta in (0.0, 0.5):
            step = unit_step(scores[None, :] - scores[:, None], delta)
            if with_labels:
                step = step * (labels[None, :] < labels[:, None])
            sums = sums_over_positives(
                scores.to(device),
                weights.to(device),
                delta,
                labels.to(device) if with_labels else None,
            )
            assert_close(sums.cpu(), weights @ step.T, torch.float32)


@pytest.mark.parametrize("delta", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("size", [1, 1023, 2500])
def test_count_and_spread_are_the_sums_over_all_pairs(delta, dtype, size):
    gen = torch.Generator().manual_seed(size)
    points = (torch.randn(size, generator=gen) * 4 - 2).to(dtype)
    targets = torch.where(torch.rand(size, generator=gen) < 0.1, -1.0, 0.0)
    scores = (torch.randn(37, generator=gen) * 2).to(dtype).double()
    weights = torch.rand(37, generator=gen, dtype=torch.float64)
    step = unit_step(points.double()[None, :] - scores[:, None], delta) * (targets == 0)

    table = KnotTable(scores.to(device), delta, torch.float32)
    points, targets = points.to(device), targets.to(device)
    negatives = locate_negatives(points, targets, table)
    count, reached = table.count(negatives.histogram)
    assert_close(count.cpu(), step.sum(1), torch.float32)
    assert torch.equal(reached.cpu(), count.cpu() > 0) or delta > 0
    spread = negatives.spread(points, targets, *table.spread(weights.to(device)))
    assert spread.dtype == dtype
    bound = max(torch.finfo(dtype).eps, 1e-5) * weights.sum()
    assert (spread.cpu().double() - weights @ step).abs().max() <= bound


def test_crowded_intervals():
    # First iterations: nearly all logits are in the one interval between -delta and +delta.
    gen = torch.Generator().manual_seed(0)
    points = torch.randn(5000, generator=gen) * 0.01 - 4.6
    points[::700] = torch.tensor([-4.1, -5.1, -7.0, 0.0, -4.095, -torch.inf, torch.inf, -5.1])
    targets = torch.where(torch.rand(5000, generator=gen) < 0.3, -1.0, 0.0)
    targets[1024:2048] = -1.0
    scores = torch.randn(20, generator=gen).double() * 0.01 - 4.6
    step = unit_step(points.double()[None, :] - scores[:, None], 0.5) * (targets == 0)
    table = KnotTable(scores.to(device), 0.5, torch.float32)
    negatives = locate_negatives(points.to(device), targets.to(device), table)
    count, _ = table.count(negatives.histogram)
    assert_close(count.cpu(), step.sum(1), torch.float32)


def test_no_example_of_ones_own():
    # A process without examples counts nothing among the others' positives.
    table = KnotTable(torch.arange(5.0, device=device).double(), 0.5, torch.float32)
    empty = torch.zeros(0, device=device)
    negatives = locate_negatives(empty, empty, table)
    count, reached = table.count(negatives.histogram)
    assert not count.any()
    assert not reached.any()
    tables = table.spread(torch.ones_like(table.scores))
    assert negatives.spread(empty, empty, *tables).shape == (0,)


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
