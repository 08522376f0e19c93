"""The losses inside torch.compile, autocast, gradient checkpointing and accumulation."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from mmdet_rank.ops import average_lrp_loss, average_precision_loss, rank_sort_loss


def rank_sort(logits, targets, errors):
    return sum(rank_sort_loss(logits, targets))


def average_lrp(logits, targets, errors):
    return sum(average_lrp_loss(logits, targets, errors))


def average_precision(logits, targets, errors):
    return average_precision_loss(logits, targets)


LOSSES = pytest.mark.parametrize("loss", [rank_sort, average_lrp, average_precision])


class Problem:
    """A small network, its input, and what its logits should be."""

    def __init__(self, seed=0, num_positives=9):
        gen = torch.Generator().manual_seed(seed)
        self.features = torch.randn(200, 8, generator=gen)
        self.targets = torch.zeros(200)
        self.targets[:num_positives] = torch.rand(num_positives, generator=gen).clamp(min=0.1)
        self.errors = torch.rand(num_positives, generator=gen)
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1), nn.Flatten(0))

    def gradients(self):
        gradients = [p.grad.clone() for p in self.model.parameters()]
        self.model.zero_grad()
        return gradients


@LOSSES
@pytest.mark.parametrize("num_positives", [9, 0])
def test_compiled_step(loss, num_positives):
    problem = Problem(num_positives=num_positives)

    def step(features, targets, errors):
        return 2 * loss(problem.model(features), targets, errors)

    expected = step(problem.features, problem.targets, problem.errors)
    expected.backward()
    gradients = problem.gradients()
    # The eager backend: graphs and their breaks without the minutes of a C++ compiler.
    torch._dynamo.reset()
    compiled = torch.compile(step, backend="eager")
    for _ in range(2):
        actual = compiled(problem.features, problem.targets, problem.errors)
        actual.backward()
        torch.testing.assert_close(actual, expected)
        torch.testing.assert_close(problem.gradients(), gradients)


def test_a_new_number_of_positives_compiles_nothing():
    torch._dynamo.reset()
    compiled = torch.compile(lambda x, t, e: rank_sort(3 * x, t, e), backend="eager")
    graphs = []
    for num_positives in (3, 4, 5, 6, 7):
        logits = Problem().features[:, 0].clone().requires_grad_()
        compiled(logits, Problem(num_positives=num_positives).targets, None).backward()
        graphs.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    assert graphs == graphs[:1] * 5


@LOSSES
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_equals_the_loss_of_its_logits(loss, dtype):
    problem = Problem()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**14)
    with torch.autocast("cpu", dtype=dtype):
        logits = problem.model(problem.features)
        value = loss(logits, problem.targets, problem.errors)
    assert logits.dtype == dtype
    assert value.dtype == torch.float32
    gradient = torch.autograd.grad(scaler.scale(value), logits, retain_graph=True)[0]
    assert gradient.dtype == dtype
    scaler.scale(value).backward()
    assert all(torch.isfinite(p.grad).all() for p in problem.model.parameters())

    exact = logits.detach().double().requires_grad_()
    reference = loss(exact, problem.targets.double(), problem.errors.double())
    reference.backward()
    torch.testing.assert_close(value.double(), reference, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(
        gradient.double() / 2.0**14, exact.grad, rtol=2 * torch.finfo(dtype).eps, atol=1e-8
    )


@LOSSES
def test_gradient_checkpointing(loss):
    problem = Problem()
    loss(problem.model(problem.features), problem.targets, problem.errors).backward()
    expected = problem.gradients()
    logits = checkpoint(problem.model, problem.features, use_reentrant=False)
    loss(logits, problem.targets, problem.errors).backward()
    torch.testing.assert_close(problem.gradients(), expected)


@LOSSES
def test_gradient_accumulation_ranks_each_batch_on_its_own(loss):
    # The mean over two batches, which is not the loss of both together: positives of one are
    # never compared with negatives of the other.
    problems = [Problem(seed) for seed in (0, 1)]
    model = problems[0].model
    expected = []
    for problem in problems:
        loss(model(problem.features), problem.targets, problem.errors).backward()
        expected.append(problems[0].gradients())
    for problem in problems:
        (loss(model(problem.features), problem.targets, problem.errors) / 2).backward()
    mean = [(a + b) / 2 for a, b in zip(*expected, strict=True)]
    torch.testing.assert_close(problems[0].gradients(), mean)


def test_logits_changed_in_place_are_noticed():
    logits = torch.randn(10, requires_grad=True)
    values = logits * 1.0
    loss = rank_sort(values, torch.tensor([0.5] + [0.0] * 9), None)
    values.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
