"""Refined Generalized Focal Loss against hand-worked values, peers and its own definition."""

import math

import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import sigmoid_focal_loss

from mmdet_rank.ops import (
    class_distances,
    inverse_frequency_weights,
    refined_generalized_focal_loss,
    spatial_refinement,
)

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1e-2}


def random_case(num_samples=50, num_classes=4, dtype=torch.float64, seed=0):
    gen = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn(num_samples, num_classes, generator=gen, dtype=torch.float64)
    labels = torch.randint(num_classes + 1, (num_samples,), generator=gen)
    distances = 20 * torch.rand(num_samples, num_classes, generator=gen, dtype=torch.float64)
    distances[0, 0] = torch.inf
    return logits.to(dtype), labels, distances


def definition(logits, labels, alpha, gamma, distances, beta, delta, use_sigmoid):
    """The formula of REG 2.3, sample by sample and class by class."""
    losses = []
    for row, label, distance in zip(logits.tolist(), labels.tolist(), distances, strict=True):
        total = 0.0
        exponentials = [math.exp(z) for z in row]
        for c, z in enumerate(row):
            if use_sigmoid:
                p = 1 / (1 + math.exp(-z))
                p = p if c == label else 1 - p
            else:
                p = exponentials[c] / sum(exponentials)
                if c != label:
                    continue
            g = 1 / (1 + math.exp(min(beta * (distance[c].item() - delta), 700)))
            total -= alpha[c] * (1 - p) ** gamma * math.log(p) * g
        losses.append(total)
    return torch.tensor(losses, dtype=torch.float64)


def test_hand_worked_values():
    # p = 1/2 for both classes: each term is (1/2)^gamma * log 2.
    logits, labels = torch.zeros(1, 2), torch.tensor([0])
    for gamma, expected in ((0.0, 2.0), (1.0, 1.0), (2.0, 0.5)):
        loss = refined_generalized_focal_loss(logits, labels, gamma=gamma)
        assert loss.item() == pytest.approx(expected * math.log(2))
    # alpha (1, 3), distances at delta: g = 1/2.
    loss = refined_generalized_focal_loss(
        logits, labels, gamma=2.0, alpha=[1.0, 3.0], distances=torch.full((1, 2), 8.0), delta=8.0
    )
    assert loss.item() == pytest.approx(0.25 * math.log(2) * (1 + 3) / 2)
    # Softmax: p = 1/2 of the true class alone.
    loss = refined_generalized_focal_loss(logits, labels, gamma=2.0, use_sigmoid=False)
    assert loss.item() == pytest.approx(0.25 * math.log(2))
    # A single logit of log 3: p = 3/4.
    loss = refined_generalized_focal_loss(torch.tensor([[math.log(3)]]), labels, gamma=1.0)
    assert loss.item() == pytest.approx(0.25 * math.log(4 / 3))


@pytest.mark.parametrize("use_sigmoid", [True, False])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_definition(use_sigmoid, gamma):
    logits, labels, distances = random_case()
    alpha = [0.5, 1.0, 2.0, 7.0]
    options = dict(alpha=alpha, gamma=gamma, distances=distances, beta=0.3, delta=6.0)
    loss = refined_generalized_focal_loss(logits, labels, use_sigmoid=use_sigmoid, **options)
    expected = definition(logits, labels, use_sigmoid=use_sigmoid, **options)
    torch.testing.assert_close(loss, expected, rtol=1e-10, atol=1e-12)


def test_peers():
    logits, labels, _ = random_case()
    one_hot = F.one_hot(labels, 5)[:, :4].double()
    focal = sigmoid_focal_loss(logits, one_hot, alpha=-1, gamma=2).sum(dim=1)
    torch.testing.assert_close(refined_generalized_focal_loss(logits, labels), focal)
    known = labels < 4
    entropy = F.cross_entropy(logits[known], labels[known], reduction="none")
    loss = refined_generalized_focal_loss(
        logits[known], labels[known], gamma=0.0, use_sigmoid=False
    )
    torch.testing.assert_close(loss, entropy)


def test_refinement():
    # The proof of A.4: g_i > g_j where d_i < d_j; the printed formula is the other way round.
    distances = torch.linspace(0, 30, 7)
    near = spatial_refinement(distances, beta=0.5, delta=10.0)
    assert (near[1:] < near[:-1]).all()
    printed = spatial_refinement(distances, beta=0.5, delta=10.0, near=False)
    torch.testing.assert_close(printed, 1 / (1 + torch.exp(-0.5 * (distances - 10.0))))
    torch.testing.assert_close(near + printed, torch.ones(7))


def test_uncertainty():
    # As printed, the expectation of a Gaussian around p is p: nothing changes.
    logits, labels, _ = random_case()
    exact = refined_generalized_focal_loss(logits, labels)
    assert torch.equal(refined_generalized_focal_loss(logits, labels, sigma=0.0), exact)
    # Gaussian logits: the expected probability, against numerical integration.
    z = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    for mean, sigma in ((1.5, 1.0), (-3.0, 2.0), (0.0, 5.0)):
        density = torch.exp(-0.5 * z.square())
        expected = ((mean + sigma * z).sigmoid() * density).sum() / density.sum()
        loss = refined_generalized_focal_loss(
            torch.tensor([[mean]]), torch.tensor([0]), gamma=0.0, sigma=sigma
        )
        assert math.exp(-loss.item()) == pytest.approx(expected.item(), abs=0.02)


def test_class_weights():
    detection = [200, 100, 700, 1500, 50, 800, 300]
    weights = inverse_frequency_weights(detection)
    assert weights[4].item() == 73  # Eq. 4: bus stops
    assert weights[3].item() == pytest.approx(2.4333, abs=1e-4)  # Eq. 5: single-arm poles
    torch.testing.assert_close(inverse_frequency_weights(detection, per_class=True), weights / 7)
    for counts in ([3, 0], [[1, 2]], [-1, 2]):
        with pytest.raises(ValueError, match="annotations above 0"):
            inverse_frequency_weights(counts)


def test_distances():
    points = torch.tensor([[5.0, 5.0], [13.0, 14.0], [-3.0, 5.0]])
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [12.0, 0.0, 20.0, 12.0]])
    found = class_distances(points, boxes, torch.tensor([0, 0]), 2)
    assert found[:, 0].tolist() == [0.0, 2.0, 3.0]
    assert found[:, 1].isinf().all()
    assert class_distances(points, boxes[:0], torch.zeros(0, dtype=torch.long), 2).isinf().all()


@pytest.mark.parametrize("use_sigmoid", [True, False])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_gradcheck(use_sigmoid, gamma):
    logits, labels, distances = random_case(6, 3)
    logits.requires_grad_()

    def loss(values):
        return refined_generalized_focal_loss(
            values, labels, alpha=[1.0, 2.0, 3.0], gamma=gamma, distances=distances, beta=0.2,
            delta=5.0, sigma=0.7, use_sigmoid=use_sigmoid,
        )  # fmt: skip

    assert torch.autograd.gradcheck(loss, (logits,))


@pytest.mark.parametrize("use_sigmoid", [True, False])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_dtypes(dtype, use_sigmoid):
    logits, labels, distances = random_case(dtype=dtype)
    loss = refined_generalized_focal_loss(
        logits, labels, distances=distances.float(), use_sigmoid=use_sigmoid
    )
    assert loss.dtype == torch.promote_types(dtype, torch.float32)
    exact = refined_generalized_focal_loss(
        logits.double(), labels, distances=distances.float(), use_sigmoid=use_sigmoid
    )
    error = (loss.double() - exact).abs().max() / exact.abs().max()
    assert error <= TOLERANCE[torch.float32 if dtype != torch.float64 else dtype]


@pytest.mark.parametrize("use_sigmoid", [True, False])
@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_extreme_logits(use_sigmoid, gamma):
    logits = torch.tensor([[500.0, -500.0], [-500.0, 500.0], [0.0, 1e4]], requires_grad=True)
    labels = torch.tensor([0, 0, 1])
    loss = refined_generalized_focal_loss(logits, labels, gamma=gamma, use_sigmoid=use_sigmoid)
    loss.sum().backward()
    assert loss.isfinite().all()
    assert logits.grad.isfinite().all()
    assert loss[0] == 0
    assert loss[1] >= 500


def test_mistakes():
    logits, labels, _ = random_case()
    for wrong in (labels[:-1], labels.float(), labels[:, None]):
        with pytest.raises(ValueError, match="integer labels"):
            refined_generalized_focal_loss(logits, wrong)
    with pytest.raises(ValueError, match="two or more classes"):
        refined_generalized_focal_loss(logits[:, :1], labels, use_sigmoid=False)
    with pytest.raises(ValueError, match="gamma >= 0"):
        refined_generalized_focal_loss(logits, labels, gamma=-1.0)
    with pytest.raises(ValueError, match="one per class"):
        refined_generalized_focal_loss(logits, labels, alpha=[1.0, 2.0])
    with pytest.raises(ValueError, match="beta > 0"):
        spatial_refinement(torch.zeros(1), beta=-1.0)
    with pytest.raises(ValueError, match="sigma >= 0"):
        refined_generalized_focal_loss(logits, labels, sigma=-1.0)
