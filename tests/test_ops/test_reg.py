"""Refined Generalized Focal Loss against hand-worked values, peers and its own definition."""

import math

import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import sigmoid_focal_loss

from mmdet_rank.ops import (
    class_distance_maps,
    class_distances,
    imbalance_ratio,
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
            g = 1 if math.isinf(distance[c]) else g
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


def test_uncertainty_of_single_logits():
    logits, labels, _ = random_case()
    sigmas = torch.rand(logits.shape, generator=torch.Generator().manual_seed(2)) * 3
    loss = refined_generalized_focal_loss(logits, labels, sigma=sigmas)
    shrunk = logits / (1 + math.pi / 8 * sigmas.to(logits.dtype) ** 2).sqrt()
    torch.testing.assert_close(loss, refined_generalized_focal_loss(shrunk, labels))
    same = refined_generalized_focal_loss(logits, labels, sigma=torch.tensor(1.7))
    torch.testing.assert_close(same, refined_generalized_focal_loss(logits, labels, sigma=1.7))


def soft_case(num_classes=4):
    gen = torch.Generator().manual_seed(1)
    logits = 3 * torch.randn(40, num_classes, generator=gen, dtype=torch.float64)
    targets = torch.rand(40, num_classes, generator=gen, dtype=torch.float64)
    targets[::3] = 0
    targets[1, 2] = 1
    return logits, targets


@pytest.mark.parametrize("gamma", [0.0, 1.5, 2.0])
def test_soft_targets_are_those_of_quality_focal_loss(gamma):
    logits, targets = soft_case()
    p = logits.sigmoid()
    entropy = -targets * p.log() - (1 - targets) * (1 - p).log()
    expected = ((targets - p).abs() ** gamma * entropy).sum(dim=1)
    loss = refined_generalized_focal_loss(logits, targets, gamma=gamma)
    torch.testing.assert_close(loss, expected)
    # alpha on the term of -log p alone.
    alpha = torch.tensor([1.0, 2.0, 5.0, 0.5], dtype=torch.float64)
    weighed = -alpha * targets * p.log() - (1 - targets) * (1 - p).log()
    expected = ((targets - p).abs() ** gamma * weighed).sum(dim=1)
    loss = refined_generalized_focal_loss(
        logits, targets, gamma=gamma, alpha=alpha, alpha_on="positives"
    )
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("use_sigmoid", [True, False])
@pytest.mark.parametrize("alpha_on", ["both", "positives"])
def test_labels_are_the_soft_targets_0_and_1(use_sigmoid, alpha_on):
    logits, labels, distances = random_case()
    soft = F.one_hot(labels, 5)[:, :4].double()
    options = dict(
        alpha=[1.0, 2.0, 3.0, 4.0], alpha_on=alpha_on, gamma=1.5, distances=distances, beta=0.2,
        delta=5.0, floor=0.1, sigma=0.5, use_sigmoid=use_sigmoid,
    )  # fmt: skip
    torch.testing.assert_close(
        refined_generalized_focal_loss(logits, soft, **options),
        refined_generalized_focal_loss(logits, labels, **options),
    )


def test_soft_targets_with_softmax():
    logits, targets = soft_case()
    targets = targets / targets.sum(dim=1, keepdim=True).clamp(min=1)
    p = logits.softmax(dim=1)
    expected = (-(targets - p).abs().square() * targets * p.log()).sum(dim=1)
    loss = refined_generalized_focal_loss(logits, targets, use_sigmoid=False)
    torch.testing.assert_close(loss, expected)


def test_where_alpha_moves_the_optimum():
    # One probability for 5 positives among 1,000 samples: on both sides of its sigmoid alpha
    # leaves the best one where it is, on the positive side it raises it.
    labels = torch.ones(1000, dtype=torch.long)
    labels[:5] = 0
    probabilities = torch.linspace(0.001, 0.999, 9981, dtype=torch.float64)

    def best(alpha, alpha_on):
        logits = probabilities.logit()[:, None]
        positive, negative = (
            refined_generalized_focal_loss(
                logits, torch.full((9981,), label), alpha=alpha, alpha_on=alpha_on
            )
            for label in (0, 1)
        )
        return probabilities[(5 * positive + 995 * negative).argmin()].item()

    assert best(1.0, "both") == pytest.approx(0.1233, abs=1e-4)
    assert best(73.0, "both") == best(1.0, "both")
    assert best(1.0, "positives") == best(1.0, "both")
    assert best(73.0, "positives") > 0.35


def test_no_negative_is_left_unpunished():
    # Nothing of class 1 is in the image, and class 0 is far away.
    logits = torch.full((1, 2), 3.0)
    background = torch.tensor([2])
    distances = torch.tensor([[1000.0, torch.inf]])
    plain = refined_generalized_focal_loss(logits, background).item() / 2
    for near in (True, False):
        loss = refined_generalized_focal_loss(
            logits, background, distances=distances, near=near, floor=0.25
        )
        far = 0.25 if near else 1.0
        assert loss.item() == pytest.approx((far + 1) * plain)


def test_class_weights():
    detection = [200, 100, 700, 1500, 50, 800, 300]
    weights = inverse_frequency_weights(detection)
    assert weights[4].item() == 73  # Eq. 4: bus stops
    assert weights[3].item() == pytest.approx(2.4333, abs=1e-4)  # Eq. 5: single-arm poles
    torch.testing.assert_close(inverse_frequency_weights(detection, per_class=True), weights / 7)
    for counts in ([3, 0], [[1, 2]], [-1, 2]):
        with pytest.raises(ValueError, match="annotations above 0"):
            inverse_frequency_weights(counts)


def test_imbalance_ratio():
    assert imbalance_ratio([200, 100, 700, 1500, 50, 800, 300]) == pytest.approx(30)
    with pytest.raises(ValueError, match="annotations above 0"):
        imbalance_ratio([3, 0])


def test_distance_maps():
    labels = torch.randint(4, (2, 9, 12), generator=torch.Generator().manual_seed(0))
    labels[0][labels[0] == 2] = 255
    found = class_distance_maps(labels, 3)
    rows, columns = torch.meshgrid(torch.arange(9), torch.arange(12), indexing="ij")
    places = torch.stack([rows, columns], dim=2).double().reshape(-1, 2)
    for image in range(2):
        for label in range(3):
            own = places[(labels[image] == label).reshape(-1)]
            if not len(own):
                assert found[image, label].isinf().all()
                continue
            nearest = torch.cdist(places, own).amin(dim=1).view(9, 12)
            torch.testing.assert_close(found[image, label], nearest.float())
    assert found[0, 2].isinf().all()
    assert found.isfinite().sum() == 5 * 9 * 12


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
    for wrong in (labels[:-1], labels.float(), labels[:, None], logits[:, :2]):
        with pytest.raises(ValueError, match="integer labels"):
            refined_generalized_focal_loss(logits, wrong)
    with pytest.raises(ValueError, match="two or more classes"):
        refined_generalized_focal_loss(logits[:, :1], labels, use_sigmoid=False)
    with pytest.raises(ValueError, match="gamma >= 0"):
        refined_generalized_focal_loss(logits, labels, gamma=-1.0)
    with pytest.raises(ValueError, match="one per class"):
        refined_generalized_focal_loss(logits, labels, alpha=[1.0, 2.0])
    with pytest.raises(ValueError, match="use_sigmoid=True in loss_cls"):
        refined_generalized_focal_loss(logits, labels, alpha=[1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="alpha_on 'both' or 'positives', but got 'all'"):
        refined_generalized_focal_loss(logits, labels, alpha_on="all")
    with pytest.raises(ValueError, match="floor in"):
        spatial_refinement(torch.zeros(1), floor=1.5)
    with pytest.raises(ValueError, match="beta > 0"):
        spatial_refinement(torch.zeros(1), beta=-1.0)
    with pytest.raises(ValueError, match="sigma >= 0"):
        refined_generalized_focal_loss(logits, labels, sigma=-1.0)
    for wrong in (torch.ones(len(logits)), torch.ones(len(logits), 1)):
        with pytest.raises(ValueError, match=r"Expected distances \(N, C\) of shape"):
            refined_generalized_focal_loss(logits, labels, distances=wrong)
    points, boxes = torch.zeros(3, 2), torch.zeros(2, 4)
    for wrong in (
        (boxes, boxes, labels[:2]),
        (points, points, labels[:3]),
        (points, boxes, labels),
    ):
        with pytest.raises(ValueError, match=r"points \(N, 2\), boxes \(M, 4\) and labels"):
            class_distances(*wrong, 4)
    with pytest.raises(ValueError, match=r"labels \(B, H, W\), but got \(4, 4\)"):
        class_distance_maps(torch.zeros(4, 4, dtype=torch.long), 2)
