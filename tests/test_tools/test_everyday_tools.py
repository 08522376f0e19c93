"""MMDetection's own tools, run for configs of this package."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest
import tiny_detection

from mmdet_rank import compat

TOOLS = Path(__file__).resolve().parents[2] / "tools"


@pytest.fixture
def config(tmp_path) -> Path:
    return tiny_detection.write_config(tmp_path, tiny_detection.write_data(tmp_path), epochs=1)


def run(monkeypatch, tool: str, *arguments) -> int:
    monkeypatch.setattr(sys, "argv", [tool, *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(TOOLS / tool), run_name="__main__")
    return ended.value.code


def test_print_config(config, monkeypatch, capsys):
    saved = config.parent / "out" / "saved.py"
    options = ("--cfg-options", "randomness.seed=77", "--save-path", saved)
    assert run(monkeypatch, "print_config.py", config, *options) == 0
    assert saved.exists()
    printed = capsys.readouterr().out
    assert "RetinaHead" in printed
    assert "seed=77" in printed


def test_a_config_of_the_package_goes_by_its_name(monkeypatch, capsys):
    name = "mmdet_rank::digits/rs-atss_r18_fpn_digits.py"
    assert run(monkeypatch, "print_config.py", name) == 0
    assert "RankATSSHead" in capsys.readouterr().out
    assert run(monkeypatch, "print_config.py", name.replace("rs-atss", "rs-atsss")) == 1
    assert "rs-atsss_r18_fpn_digits.py does not exist" in capsys.readouterr().err


def test_logs_are_needed(monkeypatch, capsys):
    assert run(monkeypatch, "analyze_logs.py") == 1
    assert "Expected what to do with which logs" in capsys.readouterr().err


def test_browse_dataset(config, monkeypatch, tmp_path):
    folder = tmp_path / "pictures"
    assert run(monkeypatch, "browse_dataset.py", config, "--output-dir", folder, "--not-show") == 0
    assert len(list(folder.glob("*.png"))) == 6


def test_get_flops(config, monkeypatch, capsys):
    assert run(monkeypatch, "get_flops.py", config, "--num-images", "1") == 0
    printed = capsys.readouterr().out
    assert "Flops:" in printed
    assert "Params:" in printed


def test_analyze_logs(monkeypatch, tmp_path, capsys):
    if compat.find(compat.MMDET)[0].distribution == "mmdet":
        pytest.importorskip("seaborn", reason="mmdet's own tool plots with seaborn")
    log, picture = tmp_path / "log.json", tmp_path / "curve.png"
    log.write_text("".join(f'{{"epoch": 1, "step": {i}, "loss": {1 / i}}}\n' for i in (1, 2, 3)))
    arguments = ("plot_curve", log, "--keys", "loss", "--out", picture)
    assert run(monkeypatch, "analyze_logs.py", *arguments) == 0, capsys.readouterr().err
    assert picture.stat().st_size > 0


@pytest.mark.parametrize("tool", ["print_config.py", "browse_dataset.py", "get_flops.py"])
def test_missing_config(tool, monkeypatch, tmp_path, capsys):
    assert run(monkeypatch, tool, tmp_path / "none.py") == 1
    errors = capsys.readouterr().err
    assert "none.py does not exist" in errors
    assert "Traceback" not in errors
