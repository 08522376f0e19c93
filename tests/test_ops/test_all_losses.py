"""Properties that all ranking losses share."""

from functools import partial

import pytest
import torch
from dense_losses import dense_average_lrp, dense_average_precision, dense_rank_sort
from ranking_cases import assert_close, draw

from mmdet_rank.ops import (
    average_lrp_loss,
    average_precision_loss,
    rank_sort_loss,
    ranking_weights,
)


def rank_sort(logits, targets, loc_errors, **options):
    return sum(rank_sort_loss(logits, targets, **options))


def ranking_only(logits, targets, loc_errors, **options):
    return rank_sort_loss(logits, targets, **options)[0]


def average_lrp(logits, targets, loc_errors, **options):
    return average_lrp_loss(logits, targets, loc_errors, **options)[0]


def average_precision(logits, targets, loc_errors, **options):
    return average_precision_loss(logits, targets, **options)


LOSSES = [rank_sort, average_lrp, average_precision]
DENSE = {
    rank_sort: lambda lo, t, e, d: sum(dense_rank_sort(lo, t, d)[2:]),
    average_lrp: lambda lo, t, e, d: dense_average_lrp(lo, t, e, d)[2],
    average_precision: lambda lo, t, e, d: dense_average_precision(lo, t, d)[1],
}


def value_and_grad(loss, logits, targets, loc_errors, **options):
    logits = logits.clone().requires_grad_()
    value = loss(logits, targets, loc_errors, **options)
    value.backward()
    return value.detach(), logits.grad


@pytest.mark.parametrize("loss", [ranking_only, average_lrp, average_precision])
def test_theorem_2(loss):
    for seed in range(500):
        logits, targets, errors, delta = draw(seed, torch.float64)
        _, grad = value_and_grad(loss, logits, targets, errors, delta=delta)
        pos, neg = grad[targets > 0].abs().sum(), grad[targets == 0].abs().sum()
        torch.testing.assert_close(pos, neg, rtol=1e-9, atol=1e-12)


def test_theorem_2_with_sorting():
    # Sorting moves weight among positives, so that only the signed sums are equal.
    for seed in range(500):
        logits, targets, errors, delta = draw(seed, torch.float64)
        _, grad = value_and_grad(rank_sort, logits, targets, errors, delta=delta)
        assert abs(grad.sum().item()) < 1e-10


@pytest.mark.parametrize("loss", LOSSES)
def test_permutation_and_shift(loss):
    for seed in range(200):
        logits, targets, errors, delta = draw(seed, torch.float64)
        value, grad = value_and_grad(loss, logits, targets, errors, delta=delta)
        order = torch.randperm(len(logits), generator=torch.Generator().manual_seed(seed))
        by_place = torch.zeros_like(logits)
        by_place[targets > 0] = errors
        moved = by_place[order][targets[order] > 0]
        # A shift by a power of two of the grid leaves the ties as they are.
        shifted = (logits * 2**20).round() / 2**20
        value, grad = value_and_grad(loss, shifted, targets, errors, delta=delta)
        value_2, grad_2 = value_and_grad(
            loss, shifted[order] + 64.0, targets[order], moved, delta=delta
        )
        assert_close(value_2, value, torch.float64)
        assert_close(grad_2, grad[order], torch.float64)


@pytest.mark.parametrize("loss", LOSSES)
def test_ignored_and_unreachable_get_exactly_zero(loss):
    for seed in range(0, 300, 3):
        logits, targets, errors, delta = draw(seed)
        _, grad = value_and_grad(loss, logits, targets, errors, delta=delta)
        assert (grad[targets < 0] == 0).all()
        below = (targets == 0) & (logits < logits[targets > 0].min() - delta)
        assert (grad[below] == 0).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_inputs_stay_as_they_were(loss):
    logits, targets, errors, _ = draw(3)
    copies = [value.clone() for value in (logits, targets, errors)]
    value_and_grad(loss, logits, targets, errors)
    for value, copy in zip((logits, targets, errors), copies, strict=True):
        assert torch.equal(value, copy)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("size", [0, 1, 50])
def test_no_positive(loss, dtype, size):
    logits = torch.randn(size).to(dtype)
    value, grad = value_and_grad(loss, logits, torch.zeros(size, dtype=dtype), torch.zeros(0))
    assert value.item() == 0
    assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert grad.dtype == dtype
    assert (grad == 0).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_no_negative_and_single_pairs(loss):
    error = torch.tensor([0.3])
    value, grad = value_and_grad(loss, torch.tensor([0.2]), torch.tensor([0.7]), error)
    assert value.item() == 0
    assert grad.item() == 0
    pair = torch.tensor([0.0, 5.0]), torch.tensor([0.7, 0.0])
    value, grad = value_and_grad(loss, *pair, error, delta=0.0)
    assert value.item() == pytest.approx(0.5)
    assert grad.tolist() == pytest.approx([-0.5, 0.5])


@pytest.mark.parametrize("loss", LOSSES)
def test_scaled_before_backward(loss):
    logits, targets, errors, _ = draw(2)
    _, grad = value_and_grad(loss, logits, targets, errors)
    logits = logits.clone().requires_grad_()
    (loss(logits, targets, errors) * 128).backward()
    torch.testing.assert_close(logits.grad, 128 * grad)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_of_a_million_logits(loss, dtype):
    gen = torch.Generator().manual_seed(0)
    exact = torch.randn(1_000_000, generator=gen) * 2 - 4
    targets = torch.zeros_like(exact)
    targets[:300] = torch.rand(300, generator=gen).clamp(min=0.01)
    exact[:300] += 4
    errors = torch.rand(300, generator=gen)
    scale = 2.0**16  # as a gradient scaler would
    low = exact.to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(low, targets.to(dtype), errors)
        (value * scale).backward()
    # Labels lose digits in a low precision too: both references see them as they were given.
    labels = targets.to(dtype).double()
    reference, ref_grad = value_and_grad(loss, exact.double(), labels, errors.double())
    rounded, rounded_grad = value_and_grad(loss, exact.to(dtype).double(), labels, errors.double())
    assert torch.isfinite(low.grad).all()
    assert torch.isfinite(value)
    assert (value - reference).abs() <= 4 * (rounded - reference).abs() + 1e-6
    rounding = torch.linalg.norm(rounded_grad - ref_grad)
    error = torch.linalg.norm(low.grad.double() / scale - ref_grad)
    assert error <= 4 * rounding


@pytest.mark.parametrize("loss", LOSSES)
def test_infinite_logits(loss):
    logits = torch.tensor([1.0, -torch.inf, torch.inf, 0.0])
    targets = torch.tensor([0.5, 0.0, 0.0, 0.0])
    value, grad = value_and_grad(loss, logits, targets, torch.tensor([0.5]))
    assert torch.isfinite(value)
    assert torch.isfinite(grad).all()
    with pytest.raises(ValueError, match="2 of 4 are NaN or infinite"):
        loss(logits, targets, torch.tensor([0.5]), check_finite=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_places_give_what_targets_give(dtype):
    for seed in range(60):
        logits, targets, errors, delta = draw(seed, dtype)
        index, ignored = ((mask).nonzero().squeeze(1) for mask in (targets > 0, targets < 0))
        places = dict(positives=index, ignored=ignored)
        for dense, sparse in (
            (rank_sort_loss, partial(rank_sort_loss, labels=targets[index])),
            (average_lrp_loss, partial(average_lrp_loss, loc_errors=errors)),
            (average_precision_loss, average_precision_loss),
        ):
            leaf = logits.clone().requires_grad_()
            extra = (errors,) if dense is average_lrp_loss else ()
            expected = dense(leaf, targets, *extra, delta=delta)
            actual = sparse(leaf, **places, delta=delta)
            if isinstance(actual, torch.Tensor):
                expected, actual = (expected,), (actual,)
            for a, b in zip(actual, expected, strict=True):
                assert torch.equal(a, b)
                if a.requires_grad:
                    gradients = [torch.autograd.grad(x, leaf, retain_graph=True)[0] for x in (a, b)]
                    assert torch.equal(*gradients)
        weights = ranking_weights(logits, **places, delta=delta)
        assert torch.equal(weights, ranking_weights(logits, targets, delta=delta))


def test_places_in_any_order_and_labels_by_default():
    logits, targets, _, delta = draw(5, torch.float64)
    index = (targets > 0).nonzero().squeeze(1).flip(0)
    ranking, sorting = rank_sort_loss(logits, positives=index, labels=targets[index], delta=delta)
    expected = rank_sort_loss(logits, targets.clamp(min=0), delta=delta)
    torch.testing.assert_close((ranking, sorting), expected)
    assert rank_sort_loss(logits, positives=index)[1].item() == 0


@pytest.mark.parametrize("positives", [[2, 5], [0, 9], [4, 3]])
def test_ignored_places_before_between_and_behind_positives(positives):
    logits = torch.linspace(1, -1, 10)[torch.tensor([3, 8, 1, 0, 9, 4, 2, 6, 7, 5])]
    index, labels = torch.tensor(positives), torch.tensor([0.9, 0.3])
    ignored = torch.tensor([1, 6, 8])
    targets = torch.zeros(10).index_copy(0, index, labels).index_fill(0, ignored, -1.0)
    expected = torch.stack(rank_sort_loss(logits, targets))
    for order in (ignored, ignored.flip(0), torch.tensor([6, 1, 8])):
        found = rank_sort_loss(logits, positives=index, labels=labels, ignored=order)
        torch.testing.assert_close(torch.stack(found), expected)
    with pytest.raises(ValueError, match="no place twice"):
        rank_sort_loss(logits, positives=index, ignored=torch.cat([ignored, index]).sort().values)


def test_wrong_places():
    logits = torch.zeros(4)
    first = torch.tensor([0])
    for options, error, match in (
        ({}, ValueError, "either targets or positives, but got none"),
        (dict(targets=logits, positives=first), ValueError, "but got both"),
        (dict(targets=logits, ignored=first), ValueError, "labels and ignored only with positives"),
        (dict(positives=[0]), TypeError, "positives to be a tensor, but got list"),
        (dict(positives=first.int()), TypeError, "int64 places, but got torch.int32"),
        (dict(positives=first[None]), ValueError, r"1-D positives, but got shape \(1, 1\)"),
        (dict(positives=first, ignored=first), ValueError, "no place twice"),
        (dict(positives=first - 1), ValueError, "within 0 and 3, but got -1"),
        (dict(positives=first, ignored=first + 4), ValueError, "within 0 and 3, but got 4"),
        (dict(positives=first, labels=torch.ones(2)), ValueError, r"one label per positive \(1\)"),
    ):
        with pytest.raises(error, match=match):
            rank_sort_loss(logits, **options)


@pytest.mark.parametrize("loss", LOSSES)
def test_wrong_inputs(loss):
    error = torch.tensor([0.5])
    with pytest.raises(ValueError, match=r"1-D logits .* \(2, 2\)"):
        loss(torch.zeros(2, 2), torch.zeros(2, 2), error)
    with pytest.raises(ValueError, match="equal length"):
        loss(torch.zeros(2), torch.zeros(3), error)
    with pytest.raises(ValueError, match="delta >= 0"):
        loss(torch.zeros(2), torch.zeros(2), error, delta=-1.0)
    # Both ends of so narrow a step are one number in float32, and negatives had no gradient.
    with pytest.raises(
        ValueError, match=r"delta of 0 or at least 0\.0001 for logits of torch\.float32"
    ):
        loss(torch.zeros(2), torch.zeros(2), error, delta=1e-5)
    loss(torch.zeros(2, dtype=torch.float64), torch.tensor([1.0, 0.0]), error, delta=1e-5)
    with pytest.raises(TypeError, match="floating point logits"):
        loss(torch.zeros(2, dtype=torch.int64), torch.zeros(2), error)


@pytest.mark.parametrize("loss", LOSSES)
def test_chunks_and_wide_ranges(loss, monkeypatch):
    from mmdet_rank.ops import knots, negatives, positives

    gen = torch.Generator().manual_seed(1)
    logits = torch.randn(3000, generator=gen, dtype=torch.float64) * 50
    targets = torch.zeros_like(logits)
    targets[::100] = torch.rand(30, generator=gen, dtype=torch.float64)
    errors = torch.rand(30, generator=gen, dtype=torch.float64)
    monkeypatch.setattr(negatives, "_CHUNK", 7)
    monkeypatch.setattr(positives, "MOST_IN_A_MATRIX", 0)
    sizes, locate = [], knots.KnotTable.locate
    monkeypatch.setattr(
        knots.KnotTable, "locate", lambda self, x: sizes.append(len(x)) or locate(self, x)
    )
    _, grad = value_and_grad(loss, logits, targets, errors, delta=0.5)
    assert len(sizes) == 429  # pieces of 7, so that the memory beside the logits is bounded
    assert max(sizes) <= 7
    assert_close(grad, DENSE[loss](logits, targets, errors, 0.5), torch.float64)
