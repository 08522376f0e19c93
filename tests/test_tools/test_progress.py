"""What a long training says while it runs, and how its threads wait."""

import re
import sys

from mmdet_rank.cli import progress
from mmdet_rank.cli.main import let_threads_sleep

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
    # 20 iterations in 0.3 s or, on a machine in use, more; 18,080 are left.
    assert 4 <= int(said) <= 18080 / 20 * sum(seconds) / 60


def test_threads_sleep_unless_the_user_chose():
    environment = {}
    let_threads_sleep(environment)
    assert environment == {"GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}
    chosen = {"OMP_WAIT_POLICY": "active"}
    let_threads_sleep(chosen)
    assert chosen == {"OMP_WAIT_POLICY": "active"}
