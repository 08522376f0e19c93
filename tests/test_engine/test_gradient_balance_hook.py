"""The balance of gradients while a detector trains, against gradients taken by hand."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.logging import MessageHub
from rcnn import batch_for, build_detector, sum_of

from mmdet_rank.engine import GradientBalanceHook
from mmdet_rank.imbalance.gradients import by_direction, listening


def run(model, images, samples, interval=1, iteration=0):
    hub = MessageHub(f"test{id(model)}{iteration}")
    runner = SimpleNamespace(model=model, message_hub=hub, iter=iteration)
    hook = GradientBalanceHook(interval)
    hook.before_train_iter(runner, 0)
    loss = sum_of(model.loss(images, samples))
    loss.backward()
    hook.after_train_iter(runner, 0)
    return {name: scalar.current() for name, scalar in hub.log_scalars.items()}


@pytest.mark.parametrize("scale", [1.0, 1024.0])
def test_ratio_of_gradients(scale):
    torch.manual_seed(0)
    model = build_detector("faster", loss="APLoss")
    images, samples = batch_for("faster", (2, 1))
    torch.manual_seed(1)
    with listening(model) as heads:
        loss = sum_of(model.loss(images, samples)) * scale
    expected = {}
    for head in heads:
        gradients = torch.autograd.grad(loss, head.scores, retain_graph=True, allow_unused=True)
        parts = [by_direction(g, head.softmax) for g in gradients if g is not None]
        raising, lowering = (sum(part) for part in zip(*parts, strict=True))
        expected[f"train/{head.name}/lowering_over_raising"] = lowering / raising
    torch.manual_seed(1)
    found = run(model, images, samples)
    assert found == pytest.approx(expected, rel=1e-5)
    # What AP Loss lays on negatives it takes from positives (thesis Theorem 2).
    assert list(found.values()) == pytest.approx([1, 1], rel=1e-4)


def test_nothing_is_left_behind():
    model = build_detector()
    images, samples = batch_for("faster", (1, 1))
    assert run(model, images, samples, interval=10, iteration=3) == {}
    run(model, images, samples)
    assert not any(module._forward_hooks for module in model.modules())
    # No object: nothing is raised, and there is no ratio.
    assert run(model, *batch_for("faster", (0, 0))) == {}


def test_examples_count_whole_with_a_softmax():
    # Two examples of two classes and background: an object, then background.
    gradient = torch.tensor([[-0.7, 0.3, 0.4], [0.2, 0.1, -0.3]])
    assert by_direction(gradient, softmax=True) == pytest.approx((1.4, 0.6))
    assert by_direction(gradient, softmax=False) == pytest.approx((1.0, 1.0))


def test_interval():
    with pytest.raises(ValueError, match="interval of at least 1, but got 0"):
        GradientBalanceHook(0)
