"""Online foreground balanced sampling by its frequencies."""

import pytest
import torch

from mmdet_rank.generators import foreground_balanced_weights, sample_foreground_balanced


def test_every_class_has_the_same_chance():
    labels = torch.tensor([0] * 90 + [3] * 9 + [5])[torch.randperm(100)]
    gen = torch.Generator().manual_seed(0)
    drawn = torch.cat([labels[sample_foreground_balanced(labels, 1, gen)] for _ in range(6000)])
    shares = torch.bincount(drawn, minlength=6)[[0, 3, 5]] / 6000
    assert shares.tolist() == pytest.approx([1 / 3] * 3, abs=0.025)  # 4 standard errors


def test_objects_of_a_class_are_alike():
    labels = torch.tensor([0, 1, 1, 1, 1])
    gen = torch.Generator().manual_seed(1)
    places = torch.cat([sample_foreground_balanced(labels, 2, gen) for _ in range(4000)])
    counts = torch.bincount(places, minlength=5)[1:]
    assert (counts / counts.sum() - 0.25).abs().max() < 0.025


def test_without_replacement_and_all_when_few():
    labels = torch.tensor([2] * 30 + [1] * 2)
    gen = torch.Generator().manual_seed(2)
    for num in (0, 1, 7, 31):
        places = sample_foreground_balanced(labels, num, gen)
        assert len(places) == len(places.unique()) == num
    # Of the two of the rare class 1.8 are among seven; drawn evenly it would be 0.4.
    drawn = [sample_foreground_balanced(labels, 7, gen) for _ in range(200)]
    assert sum((labels[places] == 1).sum() for places in drawn) > 340
    assert sample_foreground_balanced(labels, 32).tolist() == list(range(32))
    assert sample_foreground_balanced(labels[:0], 5).tolist() == []


def test_same_seed_same_places():
    labels = torch.arange(50) % 7
    one, two = (
        sample_foreground_balanced(labels, 20, torch.Generator().manual_seed(3)) for _ in range(2)
    )
    assert torch.equal(one, two)


def test_weights_sum_to_one():
    weights = foreground_balanced_weights(torch.tensor([9, 2, 2, 2, 4, 4]))
    torch.testing.assert_close(weights, 1 / (3 * torch.tensor([1.0, 3, 3, 3, 2, 2])))
    assert foreground_balanced_weights(torch.zeros(0, dtype=torch.int64)).shape == (0,)


@pytest.mark.parametrize(
    ("labels", "num", "error", "message"),
    [
        ([1, 2], 1, TypeError, "tensor of integers, but got list"),
        (torch.zeros(3), 1, TypeError, "but got torch.float32"),
        (torch.zeros(3, 1, dtype=torch.int64), 1, ValueError, r"shape \(P,\), but got \(3, 1\)"),
        (torch.zeros(3, dtype=torch.int64), -1, ValueError, "num >= 0, but got -1"),
    ],
)
def test_mistakes(labels, num, error, message):
    with pytest.raises(error, match=message):
        sample_foreground_balanced(labels, num)
