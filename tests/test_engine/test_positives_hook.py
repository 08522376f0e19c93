"""A word after an epoch without a positive."""

from types import SimpleNamespace

import pytest
import torch

from mmdet_rank.engine import PositivesHook, positives_hook


@pytest.fixture
def told(monkeypatch):
    texts = []
    monkeypatch.setattr(positives_hook, "print_log", lambda text, **kwargs: texts.append(text))
    return texts


def run_epoch(hook, epoch, *outputs):
    runner = SimpleNamespace(epoch=epoch)
    hook.before_train_epoch(runner)
    for number, output in enumerate(outputs):
        hook.after_train_iter(runner, number, outputs=output)
    hook.after_train_epoch(runner)


def test_an_epoch_of_two_iterations(told):
    hook = PositivesHook()
    nothing, something = ({"num_pos": torch.tensor(value), "loss": 1.0} for value in (0.0, 3.0))
    run_epoch(hook, 0, nothing, something)
    run_epoch(hook, 1, something, nothing)
    assert told == []
    # The positives of the epochs before do not count.
    run_epoch(hook, 2, nothing, nothing)
    assert len(told) == 1
    assert "the whole of epoch 3" in told[0]


def test_stages_count_together_and_other_heads_not_at_all(told):
    hook = PositivesHook()
    run_epoch(hook, 0, {"s0.num_pos": 0.0, "s1.num_pos": 2.0})
    run_epoch(hook, 1, {"loss": 0.3}, None)
    assert told == []
    run_epoch(hook, 2, {"s0.num_pos": 0.0, "s1.num_pos": 0.0})
    assert len(told) == 1
