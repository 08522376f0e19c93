"""The benchmark of losses on pixels runs, and its figures are of what it says."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch
from mmengine.registry import init_default_scope

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def pixels(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location("pixels_benchmark", FOLDER / "pixels.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    init_default_scope("mmdet")
    sys.modules.pop("measure", None)


def test_all_losses(pixels, tmp_path):
    out = tmp_path / "pixels.json"
    size = ["--batch", "2", "--size", "32", "--shares", "0.1", "--rounds", "1"]
    assert pixels.main([*size, "--no-memory", "--out", str(out)]) == 0
    (result,) = json.loads(out.read_text())["results"]
    assert result["num_logits"] == 2 * 32 * 32
    assert result["num_positives"] == 2 * 32 * 3
    assert set(result["rows"]) == set(pixels.LOSSES)
    assert result["failures"] == {}
    assert all(row["processor_s"]["median"] >= 0 for row in result["rows"].values())


def test_steps_give_gradients(pixels):
    init_default_scope("mmseg")
    logits, target = pixels.draw(2, 16, 0.1, torch.device("cpu"))
    for name in pixels.LOSSES:
        gradient = pixels.make_step(name, logits, target)()
        assert gradient.shape == logits.shape
        assert gradient.abs().sum() > 0
