"""The balance of gradients while a detector trains, against gradients taken by hand."""

from types import SimpleNamespace

import pytest
import torch
from mmdet.models.dense_heads import CenterNetHead, SSDHead, YOLACTHead
from mmengine.logging import MessageHub
from rcnn import batch_for, build_detector, sum_of
from torch.nn.functional import cross_entropy

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
        parts = [head.by_direction(g) for g in gradients if g is not None]
        raising, lowering = (sum(part) for part in zip(*parts, strict=True))
        expected[f"train/{head.name}/lowering_over_raising"] = lowering / raising
    torch.manual_seed(1)
    found = run(model, images, samples)
    assert found == pytest.approx(expected, rel=1e-5)
    # What AP Loss lays on negatives it takes from positives (thesis Theorem 2).
    assert list(found.values()) == pytest.approx([1, 1], rel=1e-4)


def test_a_step_that_overflows_is_left_out():
    """A gradient scaler skips it, and the mean over steps would be NaN from then on."""
    torch.manual_seed(0)
    model = build_detector("faster", loss="APLoss")
    images, samples = batch_for("faster", (2, 1))
    hub = MessageHub("test_a_step_that_overflows_is_left_out")
    hook = GradientBalanceHook(1)
    runner = SimpleNamespace(model=model, message_hub=hub, iter=0)
    for scale in (1.0, float("inf"), 1.0):
        hook.before_train_iter(runner, 0)
        (sum_of(model.loss(images, samples)) * scale).backward()
        hook.after_train_iter(runner, 0)
    for scalar in hub.log_scalars.values():
        assert len(scalar.data[0]) == 2
        assert scalar.mean() == pytest.approx(1, rel=1e-4)


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


def ssd_head():
    generator = dict(
        type="SSDAnchorGenerator", scale_major=False, input_size=64, strides=[16],
        basesize_ratio_range=(0.15, 0.9), ratios=[[2]], min_sizes=[10], max_sizes=[20],
    )  # fmt: skip
    return SSDHead(num_classes=2, in_channels=(8,), anchor_generator=generator)


def yolact_head():
    generator = dict(type="AnchorGenerator", octave_base_scale=3, scales_per_octave=1,
                     ratios=[0.5, 1.0], strides=[16])  # fmt: skip
    loss = dict(type="CrossEntropyLoss", use_sigmoid=False)
    return YOLACTHead(2, 8, generator, loss_cls=loss)


@pytest.mark.parametrize("make", [ssd_head, yolact_head])
def test_examples_of_a_map_count_whole_with_a_softmax(make):
    """Their classes lie in the channels, and SSD has no loss that says so."""
    torch.manual_seed(0)
    model = torch.nn.Module()
    model.bbox_head = make()
    with listening(model) as (head,):
        scores = model.bbox_head((torch.rand(2, 8, 3, 3),))[0][0]
    classes = 3
    logits = scores.permute(0, 2, 3, 1).reshape(-1, classes)
    labels = torch.full((len(logits),), classes - 1)
    labels[::5] = 0
    loss = cross_entropy(logits, labels)
    of_examples = torch.autograd.grad(loss, logits, retain_graph=True)[0].abs().sum(1)
    expected = [float(of_examples[labels == 0].sum()), float(of_examples[labels != 0].sum())]
    (gradient,) = torch.autograd.grad(loss, head.scores)
    assert head.by_direction(gradient) == pytest.approx(expected)


def test_a_head_without_a_loss_of_classification():
    """CenterNet's, whose loss is that of heat maps."""
    model = torch.nn.Module()
    model.bbox_head = CenterNetHead(8, 8, num_classes=2)
    with listening(model) as (head,):
        maps = model.bbox_head((torch.rand(1, 8, 3, 3),))[0][0]
    gradient = torch.ones_like(maps)
    gradient[:, 0] = -2.0
    assert head.by_direction(gradient) == (18.0, 9.0)


def test_interval():
    with pytest.raises(ValueError, match="interval of at least 1, but got 0"):
        GradientBalanceHook(0)
