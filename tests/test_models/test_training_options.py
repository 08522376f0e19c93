"""Gradient checkpointing, gradient accumulation and mixed precision around the losses."""

import copy

import pytest
import torch

from configs import build_model, load_config, train_step

CONFIG = "digits/rs-atss_r18_fpn_digits.py"


def gradients(model):
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.fixture(scope="module")
def config():
    config = load_config(CONFIG)
    # Batch statistics would move between two passes over the same images.
    config.model.backbone.norm_eval = True
    return config


def make(config, seed=0):
    torch.manual_seed(seed)
    return build_model(config)


def test_gradient_checkpointing_changes_no_gradient(config):
    plain = make(config)
    train_step(plain, num_classes=10, size=64)
    config = copy.deepcopy(config)
    config.model.backbone.with_cp = True
    checkpointed = make(config)
    train_step(checkpointed, num_classes=10, size=64)
    torch.testing.assert_close(gradients(checkpointed), gradients(plain))


def test_accumulated_gradients_add_up(config):
    model = make(config)
    separate = []
    for seed in (0, 1):
        model.zero_grad()
        train_step(model, (1,), num_classes=10, size=64, seed=seed)
        separate.append(gradients(model).clone())
    model.zero_grad()
    for seed in (0, 1):
        train_step(model, (1,), num_classes=10, size=64, seed=seed)
    torch.testing.assert_close(gradients(model), separate[0] + separate[1])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_of_a_whole_detector(config, dtype):
    model = make(config)
    with torch.autocast("cpu", dtype=dtype):
        losses = train_step(model, num_classes=10, size=64)
    assert all(torch.isfinite(value) for value in losses.values())
    assert gradients(model).isfinite().all()
    low = gradients(model).clone()
    model.zero_grad()
    train_step(model, num_classes=10, size=64)
    cosine = torch.cosine_similarity(low, gradients(model), dim=0)
    assert cosine > 0.9


def test_compiled_loss_step(config):
    # torch.compile falls back to eager around the ranking; values and gradients stay.
    model = make(config)
    expected = train_step(model, num_classes=10, size=64)
    reference = gradients(model).clone()
    model.zero_grad()
    criterion = model.bbox_head.criterion
    model.bbox_head.criterion.forward = torch.compile(criterion.forward, backend="eager")
    losses = train_step(model, num_classes=10, size=64)
    torch.testing.assert_close(losses["loss_cls"], expected["loss_cls"])
    torch.testing.assert_close(gradients(model), reference)


def test_compiled_detector(config):
    # The eager backend: graphs and their breaks without the minutes of a C++ compiler.
    model = make(config)
    expected = train_step(model, num_classes=10, size=64)
    reference = gradients(model).clone()
    model.zero_grad()
    torch._dynamo.reset()
    loss = model.loss
    model.loss = torch.compile(loss, backend="eager")
    losses = train_step(model, num_classes=10, size=64)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 5
    assert losses.keys() == expected.keys()
    for name in losses:
        torch.testing.assert_close(losses[name], expected[name])
    torch.testing.assert_close(gradients(model), reference)
