"""The wheel: what is in it, and that it works installed in another folder than the repository."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from email import message_from_bytes
from pathlib import Path

import labelled_data
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCES = ("mmdet_rank", "configs", "tools", "requirements")
FILES = ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "model-index.yml")
CONFIG = "digits/rs-atss_r18_fpn_digits.py"
#: Where the repository is not on the path.
ELSEWHERE = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
USE = f"""
from pathlib import Path
import mmdet_rank.register
from mmdet.apis import init_detector
from mmengine.config import Config
from mmengine.hub import get_config

assert Path(mmdet_rank.register.__file__).is_relative_to(Path("installed").resolve())
Path("own.py").write_text("_base_ = 'mmdet_rank::{CONFIG}'\\nrandomness = dict(seed=7)\\n")
whole = Config.fromfile("mmdet_rank::{CONFIG}")
own = Config.fromfile("own.py")
assert own.randomness.seed == 7
assert own.model == whole.model == get_config("mmdet_rank::{CONFIG}").model
print(type(init_detector("mmdet_rank::{CONFIG}", device="cpu").bbox_head).__name__)
"""


def run(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build the wheel from a copy: what an earlier build left in the repository would get in."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / name, folder / name, symlinks=True, ignore=ignored)
    for name in FILES:
        shutil.copy(REPOSITORY / name, folder)
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    run([*pip, "--no-index", "-w", str(folder / "dist"), str(folder)])
    (path,) = (folder / "dist").glob("*.whl")
    return path


def files_of(folder, prefix=""):
    return {
        f"{prefix}{path.relative_to(folder)}"
        for path in folder.rglob("*")
        if path.is_file()
        and not any(part.startswith((".", "__pyc")) for part in path.relative_to(folder).parts)
    }


def test_it_is_whole(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = files_of(REPOSITORY / "mmdet_rank", "mmdet_rank/")
    expected |= files_of(REPOSITORY / "tools", "mmdet_rank/.mim/tools/")
    expected |= files_of(REPOSITORY / "configs", "mmdet_rank/.mim/configs/")
    expected |= {"mmdet_rank/.mim/model-index.yml"}
    expected.remove("mmdet_rank/.mim/configs/ruff.toml")
    # It needs experiments/.
    expected.remove("mmdet_rank/.mim/tools/compare_losses.py")
    assert {name for name in names if name.startswith("mmdet_rank/")} == expected
    assert "mmdet_rank/py.typed" in names


def test_every_metafile_is_in_the_index():
    listed = re.findall(r"^  - (\S+)$", (REPOSITORY / "model-index.yml").read_text(), re.MULTILINE)
    there = {f"configs/{name}" for name in files_of(REPOSITORY / "configs")}
    assert sorted(listed) == sorted(name for name in there if name.endswith("metafile.yml"))


def test_losses_and_metric_need_little(wheel):
    archive = zipfile.ZipFile(wheel)
    (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    metadata = message_from_bytes(archive.read(name))
    required = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    names = {re.match(r"[\w-]+", line).group().lower() for line in required}
    assert names == {"torch", "numpy", "pycocotools", "pillow", "tqdm"}
    assert {"mmdet", "lvis", "lite", "seg", "fast"} <= set(metadata.get_all("Provides-Extra"))
    assert metadata["Author"] == "mmdet_rank contributors"


@pytest.fixture(scope="module")
def elsewhere(wheel, tmp_path_factory):
    """A folder with an environment of its own, ``installed``, that the wheel is installed in.

    What the package needs is that of the environment of the tests; the package itself is not, for
    the link of an editable install is read from an environment's own folder alone.
    """
    folder = tmp_path_factory.mktemp("elsewhere")
    fresh = folder / "installed"
    run([sys.executable, "-m", "venv", "--without-pip", str(fresh)])
    pip = [sys.executable, "-m", "pip", "--python", str(fresh / "bin" / "python"), "install"]
    run([*pip, "--no-deps", "--no-index", "--no-compile", str(wheel)], env=ELSEWHERE)
    (packages,) = fresh.glob("lib/python*/site-packages")
    (packages / "needed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def in_it(folder, program, *arguments):
    command = [str(folder / "installed" / "bin" / program), *map(str, arguments)]
    return run(command, env=ELSEWHERE, cwd=folder)


def test_it_works_elsewhere(elsewhere):
    printed = in_it(elsewhere, "mmdet-rank", "--version")
    assert re.fullmatch(r"mmdet-rank \d+\.\d+\.\d+\n", printed)
    (package,) = elsewhere.glob("installed/lib/python*/site-packages/mmdet_rank")
    assert os.access(package / ".mim" / "tools" / "dist_train.sh", os.X_OK)
    assert in_it(elsewhere, "python", "-c", USE).splitlines()[-1] == "RankATSSHead"


def test_it_trains_and_detects_elsewhere(elsewhere):
    data = labelled_data.write_voc(elsewhere / "data")
    printed = in_it(elsewhere, "mmdet-rank", "train", data, "--max-iters", 2, "--work-dir", "work")
    assert "Evaluate on the validation pictures: mmdet-rank test" in printed
    assert (elsewhere / "work" / "report.html").is_file()
    options = ["--out", "found", "--score-thr", 0]
    in_it(elsewhere, "mmdet-rank", "predict", "work", data, *options)
    assert json.loads((elsewhere / "found" / "detections.json").read_text())
