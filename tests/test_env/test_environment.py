"""Which environments the package accepts, and what it says of the others."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from mmdet_rank import check_env, compat, mmcv_ops

REPOSITORY = Path(__file__).resolve().parents[2]
DEFAULT = {
    "torch": "2.11.0",
    "onedl-mmengine": "0.10.12",
    "onedl-mmcv": "2.3.6",
    "onedl-mmdetection": "3.5.1",
}


def with_distributions(monkeypatch, versions: dict[str, str]) -> None:
    """Pretend that these distributions of the stack are installed, and no module besides."""

    def version(name: str) -> str:
        if name not in versions:
            raise metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(compat.metadata, "version", version)
    monkeypatch.setattr(compat.importlib.util, "find_spec", lambda name: None)


@pytest.mark.parametrize(
    "versions",
    [
        DEFAULT,
        {**DEFAULT, "torch": "2.4.0+cpu"},
        {"torch": "2.5.1", "mmengine": "0.10.7", "mmcv": "2.1.0", "mmdet": "3.3.0"},
        {"torch": "2.5.1+cu124", "mmengine": "0.10.7", "mmcv-lite": "2.1.0", "mmdet": "3.3.0"},
    ],
)
def test_supported_stacks(monkeypatch, versions):
    with_distributions(monkeypatch, versions)
    assert compat.find_problems() == []
    compat.check_stack()


@pytest.mark.parametrize(
    ("change", "fragments"),
    [
        ({"torch": "2.3.1"}, ["Expected torch >=2.4", "got torch 2.3.1"]),
        ({"onedl-mmcv": "1.7.2"}, ["Expected mmcv >=2.1.0", "got onedl-mmcv 1.7.2"]),
        ({"onedl-mmcv": None}, ["Expected mmcv", "or mmcv-lite", "not installed"]),
        ({"onedl-mmengine": "0.9.1"}, ["Expected mmengine", "got onedl-mmengine 0.9.1"]),
        (
            {"onedl-mmdetection": None, "mmdet": "2.28.2"},
            ["Expected mmdet >=3.3.0", "got mmdet 2.28.2"],
        ),
        ({"mmcv": "2.1.0"}, ["onedl-mmcv 2.3.6 and mmcv 2.1.0", "pip uninstall onedl-mmcv mmcv"]),
        (
            {"onedl-mmdetection": None, "mmdet": "3.3.0"},
            ["Expected mmcv <2.2.0 beside mmdet 3.3.0", "got onedl-mmcv 2.3.6"],
        ),
    ],
)
def test_unsupported_stacks_say_what_mends_them(monkeypatch, change, fragments):
    versions = {name: v for name, v in {**DEFAULT, **change}.items() if v is not None}
    with_distributions(monkeypatch, versions)
    with pytest.raises(ImportError) as caught:
        compat.check_stack()
    for fragment in [*fragments, "do: pip"]:
        assert fragment in str(caught.value)


def test_missing_packaging_is_a_problem_among_the_others(monkeypatch):
    # An environment with torch alone lacks it, and is just where the rest is asked for.
    monkeypatch.setitem(sys.modules, "packaging.specifiers", None)
    with_distributions(monkeypatch, {"torch": "2.11.0"})
    *missing, last = compat.find_problems()
    assert len(missing) == 3
    assert last.endswith("do: pip install packaging")
    original = {"torch": "2.5.1", "mmengine": "0.10.7", "mmcv-lite": "2.1.0", "mmdet": "3.3.0"}
    for stack in (DEFAULT, original):
        with_distributions(monkeypatch, stack)
        assert compat.find_problems() == [last]


def test_source_folder_counts_as_installed(monkeypatch):
    with_distributions(monkeypatch, {k: v for k, v in DEFAULT.items() if k != "onedl-mmdetection"})
    monkeypatch.setattr(compat.importlib.util, "find_spec", lambda name: name == "mmdet" or None)
    assert compat.find_problems() == []
    assert "version unknown" in str(compat.find(compat.MMDET)[0])


def test_parts_without_mmdetection():
    """One process that cannot see the stack: losses and metric work, the rest says what to do."""
    program = """
import sys
from importlib import metadata, util

HIDDEN = ("mmdet", "mmcv", "mmengine")
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in HIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hide())
version, find_spec = metadata.version, util.find_spec
def hidden_version(name):
    if "mm" in name:
        raise metadata.PackageNotFoundError(name)
    return version(name)
metadata.version = hidden_version
util.find_spec = lambda name, *a: None if name in HIDDEN else find_spec(name, *a)

import mmdet_rank.evaluation.lrp
assert "torch" not in sys.modules
import torch, mmdet_rank.ops
logits = torch.zeros(3, requires_grad=True)
sum(mmdet_rank.ops.rank_sort_loss(logits, torch.tensor([0.0, 0.9, 0.4]))).backward()
assert logits.grad.abs().sum() > 0
for part in ("losses", "models", "engine", "evaluation.metrics"):
    try:
        __import__(f"mmdet_rank.{part}")
    except ImportError as error:
        assert f"mmdet_rank.{part} needs MMDetection" in str(error), error
        assert "pip install" in str(error)
    else:
        raise AssertionError(part)
from mmdet_rank import check_env
assert check_env.main() == 1
assert not [name for name in sys.modules if name.split(".")[0] in HIDDEN]
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "PROBLEM: Expected mmdet" in done.stderr
    assert "training cannot work: 3 problem(s)" in done.stdout


def test_check_env_passes_here(capsys):
    assert check_env.main() == 0
    printed = capsys.readouterr().out
    for line in (r"torch +torch \d", r"mmdet +\S+ 3\.", r"devices +cpu", "training can work"):
        assert re.search(line, printed)
    backing = "stand in" if mmcv_ops.is_stand_in() else "mmcv has compiled operators"
    assert backing in printed


def test_check_env_tells_of_checkpoints_that_others_cannot_resume(capsys, monkeypatch):
    # mmengine 0.10.7 with torch 2.6 and later.
    def refuse(*args, **kwargs):
        raise pickle.UnpicklingError("Weights only load failed")

    monkeypatch.setattr("mmengine.runner.CheckpointLoader.load_checkpoint", refuse)
    assert check_env.main() == 0
    assert "other tools cannot resume, because mmengine 0.10.7" in capsys.readouterr().out


def test_check_env_reports_checks_that_fail(capsys, monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("Couldn't load custom C++ ops")

    monkeypatch.setattr("mmcv.ops.nms", broken)
    assert check_env.main() == 1
    errors = capsys.readouterr().err
    assert "PROBLEM: NMS or RoIAlign does not run on cpu: Couldn't load custom C++ ops" in errors
    assert "pip install --force-reinstall torch torchvision" in errors


def test_wrong_stack_is_reported_without_traceback(tmp_path):
    """`python -m` imports the package first, which refuses such a stack when it is imported."""
    fake = tmp_path / "mmcv-2.1.0.dist-info"
    fake.mkdir()
    (fake / "METADATA").write_text("Metadata-Version: 2.1\nName: mmcv\nVersion: 2.1.0\n")
    environment = {"PYTHONPATH": f"{tmp_path}:{REPOSITORY}", "PATH": "/usr/bin:/bin"}
    for arguments, traceback in (
        (["-m", "mmdet_rank.check_env"], False),
        (["-c", "import mmdet_rank"], True),
    ):
        done = subprocess.run(
            [sys.executable, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert "overwrite each other's files" in done.stderr
        assert ("Traceback" in done.stderr) == traceback
