import numpy as np
import pytest
import torch
from dense_losses import dense_rank_sort
from ranking_cases import assert_close, draw

from mmdet_rank.ops import rank_sort_loss

GOLDEN = np.load(__file__.replace("test_ops/test_rank_sort.py", "data/ranking_losses.npz"))
CASES = sorted({key.split("/")[0] for key in GOLDEN if key.startswith("rs_")})


def gradients(logits, targets, **options):
    """Values and gradients of both parts."""
    logits = logits.clone().requires_grad_()
    ranking, sorting = rank_sort_loss(logits, targets, **options)
    grad_ranking = torch.autograd.grad(ranking, logits, retain_graph=True)[0]
    grad_sorting = torch.autograd.grad(sorting, logits)[0]
    return ranking, sorting, grad_ranking, grad_sorting


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", CASES)
def test_published_values(case, dtype):
    logits = torch.from_numpy(GOLDEN[f"{case}/logits"]).to(dtype).requires_grad_()
    targets = torch.from_numpy(GOLDEN[f"{case}/targets"]).to(dtype)
    ranking, sorting = rank_sort_loss(logits, targets, delta=float(GOLDEN[f"{case}/delta"]))
    (ranking + sorting).backward()
    assert ranking.dtype == dtype
    assert_close(ranking, GOLDEN[f"{case}/ranking"], dtype)
    assert_close(sorting, GOLDEN[f"{case}/sorting"], dtype)
    assert_close(logits.grad, GOLDEN[f"{case}/grad"], dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_the_definition(dtype):
    for seed in range(600):
        logits, targets, _, delta = draw(seed, dtype)
        for actual, expected in zip(
            gradients(logits, targets, delta=delta),
            dense_rank_sort(logits, targets, delta),
            strict=True,
        ):
            assert_close(actual, expected, dtype)


def test_thesis_figure_m_1():
    # Printed: 0.24, by ranks that count the example itself once, as a hard step does.
    logits = torch.tensor([3.0, 2.0, 1.0, 0.0, -1.0, -2.0, -3.0, -4.0])
    labels = torch.tensor([0.9, 0.4, 0.0, 0.0, 0.8, 0.0, 0.1, 0.0])
    ranking, sorting, grad_ranking, grad_sorting = gradients(logits, labels, delta=0.0)
    assert ranking.item() == pytest.approx((2 / 5 + 3 / 7) / 4)
    assert sorting.item() == pytest.approx((0.3 - 0.15) / 4)
    assert (ranking + sorting).item() == pytest.approx(0.2446, abs=5e-5)
    expected = [0, 0.0375, 0.0857, 0.0857, -0.1375, 0.0357, -0.1071, 0]
    assert (grad_ranking + grad_sorting).tolist() == pytest.approx(expected, abs=5e-5)
    # With the published delta and H(0) = 0.5 the same example gives 0.2732.
    assert sum(rank_sort_loss(logits, labels)).item() == pytest.approx(0.2732, abs=5e-5)


def test_sorting_is_demoted_by_hand():
    # Two positives in the wrong order, no negative: the better one (0.9) has error
    # mean(0.1, 0.5) - 0.1 = 0.2, all of it blamed on the other; divided by |P| = 2.
    ranking, sorting, grad_ranking, grad_sorting = gradients(
        torch.tensor([3.0, 0.0]), torch.tensor([0.5, 0.9]), delta=0.0
    )
    assert ranking.item() == 0
    assert grad_ranking.abs().max() == 0
    assert sorting.item() == pytest.approx(0.1)
    assert grad_sorting.tolist() == pytest.approx([0.1, -0.1])


def test_many_positives():
    gen = torch.Generator().manual_seed(0)
    logits = torch.randn(3000, generator=gen, dtype=torch.float64)
    targets = torch.zeros_like(logits)
    targets[:1500] = torch.rand(1500, generator=gen, dtype=torch.float64)
    for actual, expected in zip(
        gradients(logits, targets), dense_rank_sort(logits, targets, 0.5), strict=True
    ):
        assert_close(actual, expected, torch.float64)
