"""The loops compiled by numba against torch's code and the dense definition."""

import subprocess
import sys

import pytest
import torch
from dense_losses import dense_average_lrp, dense_average_precision, dense_rank_sort
from ranking_cases import assert_close, draw

from mmdet_rank.ops import (
    average_lrp_loss,
    average_precision_loss,
    loops,
    positives,
    rank_sort_loss,
)
from mmdet_rank.ops.knots import KnotTable
from mmdet_rank.ops.negatives import LocatedNegatives, LoopedNegatives
from mmdet_rank.ops.roles import read_roles

pytest.importorskip("numba")


@pytest.fixture
def everywhere(monkeypatch):
    """Loops however few logits and positives there are, cut into many pieces."""
    monkeypatch.setattr(loops, "LEAST_LOGITS", 0)
    monkeypatch.setattr(loops, "LEAST_POSITIVES", 0)
    monkeypatch.setattr(loops, "_PIECE", 7)
    monkeypatch.setattr(positives, "MOST_IN_A_MATRIX", 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_losses_equal_the_definitions(everywhere, dtype):
    for seed in range(100):
        logits, targets, errors, delta = draw(seed, dtype)
        leaf = logits.clone().requires_grad_()
        losses = [
            sum(rank_sort_loss(leaf, targets, delta=delta)),
            average_lrp_loss(leaf, targets, errors, delta=delta)[0],
            average_precision_loss(leaf, targets, delta=delta),
        ]
        gradients = [
            sum(dense_rank_sort(logits, targets, delta)[2:]),
            dense_average_lrp(logits, targets, errors, delta)[2],
            dense_average_precision(logits, targets, delta)[1],
        ]
        for loss, gradient in zip(losses, gradients, strict=True):
            assert_close(torch.autograd.grad(loss, leaf)[0], gradient, dtype)


POSITIVES = {
    "spread": lambda g: torch.randn(999, generator=g),
    "one": lambda g: torch.randn(1, generator=g),
    "tied": lambda g: torch.randn(500, generator=g).mul(3).round(),
    "equal": lambda g: torch.full((70,), 3.0),
    "crowded": lambda g: torch.cat([torch.randn(300, generator=g) * 1e-3, torch.tensor([1e4])]),
    "huge": lambda g: torch.randn(300, generator=g) * 1e38,
    "infinite": lambda g: torch.tensor([-torch.inf, 0.0, 1.0, torch.inf]),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", POSITIVES)
def test_counts_are_those_of_torch(case, dtype):
    gen = torch.Generator().manual_seed(0)
    scores = POSITIVES[case](gen).to(dtype)
    others = torch.randn(20_000, generator=gen).to(dtype) * 3
    others[:4] = torch.tensor([torch.inf, -torch.inf, torch.nan, 1e30])
    near = scores[torch.randint(len(scores), (500,), generator=gen)]
    logits = torch.cat([scores, near, near + 0.5, others])
    targets = torch.where(torch.rand(len(logits), generator=gen) < 0.1, -1.0, 0.0)
    targets[: len(scores)] = 1
    roles = read_roles(logits, targets, None, None, None, 0.5, check_finite=False)
    table = KnotTable(scores.double(), 0.5, dtype)
    expected = LocatedNegatives(logits, roles, table).histogram
    actual = LoopedNegatives(logits, roles, table).histogram
    assert torch.equal(actual.counts[1:], expected.counts[1:])
    torch.testing.assert_close(actual.offsets[1:-1], expected.offsets[1:-1], equal_nan=True)


def test_threads_change_no_bit(monkeypatch):
    monkeypatch.setattr(loops, "_PIECE", 5000)
    gen = torch.Generator().manual_seed(0)
    logits = torch.randn(50_000, generator=gen).requires_grad_()
    places = torch.randperm(50_000, generator=gen)
    labels = torch.rand(700, generator=gen)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            parts = rank_sort_loss(logits, positives=places[:700], labels=labels)
            results.append([*parts, torch.autograd.grad(sum(parts), logits)[0]])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


PROGRAM = """
import sys, torch
from mmdet_rank.ops import rank_sort_loss
assert "numba" not in sys.modules
def step(size):
    rank_sort_loss(torch.zeros(size, requires_grad=True), positives=torch.arange(600))
step(1000)
assert "numba" not in sys.modules or {early}
step(100_000)
print("numba" in sys.modules)
"""


@pytest.mark.parametrize("wanted", ["1", "0"])
def test_numba_comes_with_the_first_large_call(wanted, monkeypatch):
    monkeypatch.setenv("MMDET_RANK_LOOPS", wanted)
    program = PROGRAM.format(early=wanted == "1")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{wanted == '1'}\n"


def test_without_numba_torch_does_the_work(monkeypatch):
    monkeypatch.setattr(loops.importlib.util, "find_spec", lambda name: None)
    loops.compiled.cache_clear()
    try:
        logits = torch.zeros(100_000)
        assert not loops.useful(logits, loops.LEAST_LOGITS)
        assert rank_sort_loss(logits, positives=torch.arange(1))[0].item() == pytest.approx(0.99999)
    finally:
        loops.compiled.cache_clear()
