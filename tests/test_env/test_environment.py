"""Which environments the package accepts, and what it says of the others."""

from __future__ import annotations

import importlib
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


@pytest.mark.parametrize(
    ("module", "command"),
    [
        ("pycocotools.mask", "pip install --force-reinstall --no-deps --no-cache-dir pycocotools"),
        ("mmdet_rank.register", "with pip install --force-reinstall"),
    ],
)
def test_check_env_reports_modules_compiled_for_another_numpy(capsys, monkeypatch, module, command):
    whole = importlib.import_module

    def mismatched(name, package=None):
        if name == module:
            raise ValueError("numpy.dtype size changed, may indicate binary incompatibility")
        return whole(name, package)

    monkeypatch.setattr("importlib.import_module", mismatched)
    assert check_env.main() == 1
    errors = capsys.readouterr().err
    assert f"PROBLEM: {module.removesuffix('.mask')} does not import (" in errors
    assert "numpy.dtype size changed" in errors
    assert command in errors


def test_wrong_stack_is_reported_without_traceback(tmp_path):
    """Configs and the check both tell of the fault, the check without a traceback."""
    fake = tmp_path / "mmcv-2.1.0.dist-info"
    fake.mkdir()
    (fake / "METADATA").write_text("Metadata-Version: 2.1\nName: mmcv\nVersion: 2.1.0\n")
    environment = {"PYTHONPATH": f"{tmp_path}:{REPOSITORY}", "PATH": "/usr/bin:/bin"}
    for arguments, traceback in (
        (["-m", "mmdet_rank.check_env"], False),
        (["-c", "import mmdet_rank.register"], True),
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
