"""What a long training says while it runs, and how its threads wait."""

import io
import re
import sys
from types import SimpleNamespace

import pytest

from mmdet_rank.cli import progress
from mmdet_rank.cli.main import let_threads_sleep
from mmdet_rank.cli.own_data import progress as own_progress
from mmdet_rank.cli.own_data.progress import ProgressHook

TRAINING = """
import time
for done in (20, 40, 60):
    line = f"Epoch(train)  [1][ {done}/9060]  lr: 1.0e-03  loss: 1.2345  loss_cls: 0.5"
    print(line, flush=True)
    time.sleep(0.3)
"""


def test_a_training_says_how_long_it_takes(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress, "_POLL_SECONDS", 0.02)
    command = [sys.executable, "-c", TRAINING]
    seconds = list(progress.run_training(command, tmp_path / "log", epochs=2))
    assert sum(seconds) > 0.8
    (said,) = re.findall(r"about (\d+) minutes more", capsys.readouterr().out)
    # 20 iterations in 0.3 s; on a machine in use more, or less where the first line is read late.
    assert 1 <= int(said) <= 18080 / 20 * sum(seconds) / 60


def test_threads_sleep_unless_the_user_chose():
    environment = {}
    let_threads_sleep(environment)
    assert environment == {"GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}
    chosen = {"OMP_WAIT_POLICY": "active"}
    let_threads_sleep(chosen)
    assert chosen == {"OMP_WAIT_POLICY": "active"}


def test_the_time_left_has_the_loading_of_images_in_it(monkeypatch):
    """Steps of 5 ms for which, every second time, 100 ms of loading are waited."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(own_progress, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    runner = SimpleNamespace(
        iter=0,
        max_iters=100,
        val_interval=20,
        val_dataloader=[None] * 10,
        message_hub=SimpleNamespace(log_scalars={}),
    )
    hook = ProgressHook(io.StringIO())
    hook.before_train(runner)
    clock.now += 30  # processes that load images begin
    left = []
    for runner.iter in range(100):
        clock.now += 0.1 * (runner.iter % 2)
        hook.before_train_iter(runner, runner.iter)
        clock.now += 0.005
        hook.after_train_iter(runner, runner.iter)
        left.append(hook.time_left(runner))
        if (runner.iter + 1) % runner.val_interval == 0:
            hook.before_val(runner)
            clock.now += 3
            hook.after_val_epoch(runner, {})
            hook.after_val(runner)
    hook.after_train(runner)
    # Of the first step alone, then with loading; one evaluation, reckoned or known, after each 20.
    assert left[0] == pytest.approx(99 * 0.005 + 6 * 0.4 * 0.005 * 10)
    assert left[1] == pytest.approx(98 * 0.105 + 6 * 0.4 * 0.105 * 10)
    assert left[20] == pytest.approx(79 * 0.055 + 5 * 3)
    assert left[59] == pytest.approx(40 * 0.055 + 4 * 3, rel=0.02)
    runner.max_iters, runner.iter = 105, 100
    assert hook.time_left(runner) == pytest.approx(4 * 0.055 + 2 * 3, rel=0.03)
