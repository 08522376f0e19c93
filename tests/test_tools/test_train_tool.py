"""tools/train.py: what a run leaves behind, resuming, several processes."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import weakref
from pathlib import Path

import commands
import pytest
import tiny_detection
import torch

from mmdet_rank.cli import train as training

REPOSITORY = Path(__file__).resolve().parents[2]
#: Ends its own process, so that where it ends does not depend on how busy the machine is.
KILLER = """
import os, signal
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

@HOOKS.register_module()
class Killer(Hook):
    def after_train_iter(self, runner, *args, **kwargs):
        if runner.iter == 4:
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return tiny_detection.write_data(tmp_path_factory.mktemp("tiny"))


def state_dict(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, map_location="cpu", weights_only=False)["state_dict"]


def assert_equal_weights(first: Path, second: Path) -> None:
    a, b = state_dict(first), state_dict(second)
    assert a.keys() == b.keys()
    differing = [name for name in a if not torch.equal(a[name], b[name])]
    assert differing == []


def run(config: Path, work_dir: Path, *arguments: str) -> int:
    return commands.train([str(config), "--work-dir", str(work_dir), *arguments])


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("length", "middle", "last"),
    [
        ({"epochs": 3}, "epoch_1.pth", "epoch_3.pth"),
        ({"iterations": 7}, "iter_4.pth", "iter_7.pth"),
    ],
    ids=["epochs", "iterations"],
)
def test_resumed_run_equals_uninterrupted(tmp_path, data, workers, length, middle, last):
    # Without a seed in the config, the resumed run must find that of the first one.
    config = tiny_detection.write_config(tmp_path, data, workers=workers, seed=None, **length)
    assert run(config, tmp_path / "whole") == 0
    assert run(config, tmp_path / "resumed", "--resume", str(tmp_path / "whole" / middle)) == 0
    assert_equal_weights(tmp_path / "whole" / last, tmp_path / "resumed" / last)


def test_equality_is_not_for_nothing(tmp_path, data, monkeypatch):
    """Guards the test above: without what the tool adds, the resumed run has other weights."""
    monkeypatch.setattr(training, "make_resumable", lambda cfg, options: None)
    config = tiny_detection.write_config(tmp_path, data, epochs=3)
    assert run(config, tmp_path / "whole") == 0
    middle = tmp_path / "whole" / "epoch_1.pth"
    assert run(config, tmp_path / "resumed", "--resume", str(middle)) == 0
    with pytest.raises(AssertionError):
        assert_equal_weights(*(tmp_path / name / "epoch_3.pth" for name in ("whole", "resumed")))


def test_resume_after_sigkill(tmp_path, data):
    config = tiny_detection.write_config(tmp_path, data, iterations=16)
    assert run(config, tmp_path / "whole") == 0

    killed = tmp_path / "killed"
    (tmp_path / "killer.py").write_text(KILLER)
    dying = tmp_path / "dying.py"
    dying.write_text(
        f"_base_ = '{config.name}'\n"
        "custom_imports = dict(imports=['mmdet_rank.register', 'killer'])\n"
        "custom_hooks = [dict(type='Killer', priority='LOWEST')]\n"
    )
    command = [sys.executable, REPOSITORY / "tools/train.py", dying, "--work-dir", killed]
    process = subprocess.run(
        command,
        cwd=tmp_path,
        capture_output=True,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        timeout=300,
    )
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert (killed / "iter_5.pth").exists()
    assert not (killed / "iter_6.pth").exists()
    # What a kill in the middle of a write leaves: neither may be mistaken for a checkpoint.
    (killed / "iter_99.pth.partial").write_bytes(b"half a checkpoint")
    (killed / "last_checkpoint").write_text("")

    assert run(config, killed, "--resume") == 0
    assert_equal_weights(tmp_path / "whole" / "iter_16.pth", killed / "iter_16.pth")


def test_resume_skips_a_checkpoint_cut_short(tmp_path, data):
    config = tiny_detection.write_config(tmp_path, data, iterations=5)
    assert run(config, tmp_path / "whole") == 0
    broken = tmp_path / "broken"
    broken.mkdir()
    content = (tmp_path / "whole" / "iter_3.pth").read_bytes()
    (broken / "iter_2.pth").write_bytes((tmp_path / "whole" / "iter_2.pth").read_bytes())
    (broken / "iter_3.pth").write_bytes(content[: len(content) // 2])
    (broken / "last_checkpoint").write_text(str(broken / "iter_3.pth"))
    assert run(config, broken, "--resume") == 0
    assert_equal_weights(tmp_path / "whole" / "iter_5.pth", broken / "iter_5.pth")


@pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU, --amp takes MMEngine's wrapper")
def test_mixed_precision_without_gpu(tmp_path, data):
    config = tiny_detection.write_config(tmp_path, data, epochs=1)
    options = ("--cfg-options", "optim_wrapper.loss_scale=dynamic")
    assert run(config, tmp_path / "whole") == 0
    assert run(config, tmp_path / "mixed", "--amp", *options) == 0
    assert run(config, tmp_path / "start", "--cfg-options", "optim_wrapper.optimizer.lr=0.0") == 0
    start, whole, mixed = (
        state_dict(tmp_path / name / "epoch_1.pth") for name in ("start", "whole", "mixed")
    )
    assert all(value.dtype == whole[name].dtype for name, value in mixed.items())
    learnt = [name for name in whole if name.endswith(("weight", "bias"))]
    exact, rounded = (
        torch.cat([(weights[name] - start[name]).flatten() for name in learnt])
        for weights in (whole, mixed)
    )
    assert not torch.equal(exact, rounded)
    assert torch.cosine_similarity(exact, rounded, dim=0) > 0.9
    assert rounded.norm().item() == pytest.approx(exact.norm().item(), rel=0.1)


@pytest.mark.parametrize(("accumulated", "expected"), [(1, 0.0025), (2, 0.005), (4, 0.01)])
def test_scaled_learning_rate_counts_accumulated_batches(tmp_path, data, accumulated, expected):
    # 0.01 is for 8 images; a step has 2 for each accumulated batch.
    config = tiny_detection.write_config(tmp_path, data, iterations=1)
    options = (
        f"optim_wrapper.accumulative_counts={accumulated}",
        "auto_scale_lr.base_batch_size=8",
    )
    assert run(config, tmp_path / "run", "--auto-scale-lr", "--cfg-options", *options) == 0
    saved = torch.load(tmp_path / "run" / "iter_1.pth", weights_only=False)["optimizer"]
    assert saved["param_groups"][0]["initial_lr"] == pytest.approx(expected)


def test_resume_without_checkpoint_starts_anew(tmp_path, data):
    config = tiny_detection.write_config(tmp_path, data, epochs=1)
    assert run(config, tmp_path / "a", "--resume") == 0
    assert run(config, tmp_path / "b") == 0
    assert_equal_weights(tmp_path / "a" / "epoch_1.pth", tmp_path / "b" / "epoch_1.pth")


def test_two_processes_on_cpu_hold_the_same_weights(tmp_path, data):
    folder = tmp_path / "a folder with spaces"
    folder.mkdir()
    config = tiny_detection.write_config(folder, data, iterations=3)
    probe = folder / "weight_probe.py"
    probe.write_text(
        "import torch\n"
        "from mmdet.registry import HOOKS\n"
        "from mmengine.dist import get_rank, get_world_size\n"
        "from mmengine.hooks import Hook\n"
        "@HOOKS.register_module()\n"
        "class WeightProbe(Hook):\n"
        "    def after_train(self, runner):\n"
        "        assert get_world_size() == 2\n"
        "        weights = {k: v for k, v in runner.model.module.state_dict().items()\n"
        "                   if 'running' not in k}\n"
        "        torch.save(weights, f'{runner.work_dir}/rank{get_rank()}.pt')\n"
    )
    text = config.read_text().replace(
        'imports=["mmdet_rank.register"]', 'imports=["mmdet_rank.register", "weight_probe"]'
    )
    config.write_text(text + '\ncustom_hooks = [dict(type="WeightProbe")]\n')
    environment = {
        **os.environ,
        "PYTHON": sys.executable,
        "PYTHONPATH": os.pathsep.join([str(folder), str(REPOSITORY)]),
        "PORT": str(29600 + os.getpid() % 300),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    done = subprocess.run(
        [REPOSITORY / "tools/dist_train.sh", config, "2", "--work-dir", folder / "work dir"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    first, second = (
        torch.load(folder / "work dir" / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)
    )
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    # Gradients were averaged over the halves of the batch, so one process has other weights.
    assert run(tiny_detection.write_config(folder, data, iterations=3), folder / "one") == 0
    alone = state_dict(folder / "one" / "iter_3.pth")
    assert any(not torch.equal(first[name], alone[name]) for name in first)


@pytest.mark.parametrize("machines", [1, 2])
def test_evaluation_in_two_processes_gives_the_figures_of_one(tmp_path, data, machines):
    config = tiny_detection.write_config(tmp_path, data, iterations=3)
    text = config.read_text()
    assert "CocoMetric" in text
    config.write_text(text.replace("CocoMetric", "CocoLRPMetric"))
    assert run(config, tmp_path / "run") == 0
    checkpoint = tmp_path / "run" / "iter_3.pth"
    prefix = tmp_path / "alone"
    options = ["--cfg-options", f"test_evaluator.report_prefix={prefix}"]
    arguments = [config, checkpoint, "--work-dir", tmp_path / "test", *options]
    assert commands.test(list(map(str, arguments))) == 0
    environment = {
        **os.environ,
        "PYTHON": sys.executable,
        "PYTHONPATH": str(REPOSITORY),
        "NNODES": str(machines),
        "MASTER_ADDR": "127.0.0.1",
        "PORT": str(29900 + os.getpid() % 90),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    # On the second of two machines the report goes elsewhere, and is not written.
    parts = [
        subprocess.Popen(
            [
                *(REPOSITORY / "tools/dist_test.sh", config, checkpoint, str(2 // machines)),
                *("--work-dir", tmp_path / f"machine{number}"),
                *("--cfg-options", f"test_evaluator.report_prefix={tmp_path / f'from{number}'}"),
            ],
            env={**environment, "NODE_RANK": str(number)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number in range(machines)
    ]
    outputs = [part.communicate(timeout=180)[0] for part in parts]
    assert [part.returncode for part in parts] == [0] * machines, outputs
    alone, together = (
        json.loads(Path(f"{each}.bbox.lrp.json").read_text())
        for each in (prefix, tmp_path / "from0")
    )
    assert together == alone
    assert alone["per_class"]
    assert not (tmp_path / "from1.bbox.lrp.json").exists()


def test_model_is_freed_before_its_processes_end(tmp_path, data, monkeypatch):
    build, models, alive = training.build_runner, [], []

    def build_and_watch(cfg):
        runner = build(cfg)
        models.append(weakref.ref(runner.model))
        return runner

    def look():
        gc.collect()
        alive.extend(model() for model in models)

    monkeypatch.setattr(training, "build_runner", build_and_watch)
    monkeypatch.setattr(training, "end_processes", look)
    config = tiny_detection.write_config(tmp_path, data, iterations=1)
    assert run(config, tmp_path / "run") == 0
    assert alive == [None]


@pytest.mark.parametrize("script", ["dist_train.sh", "dist_test.sh"])
@pytest.mark.parametrize("arguments", [[], ["config.py"], ["config.py", "checkpoint.pth", "two"]])
def test_launch_scripts_refuse_bad_arguments(script, arguments):
    if script == "dist_train.sh":
        arguments = arguments[:2] if len(arguments) < 3 else ["config.py", "two"]
    done = subprocess.run(
        [REPOSITORY / "tools" / script, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "usage:" in done.stderr or "Expected GPUS" in done.stderr
