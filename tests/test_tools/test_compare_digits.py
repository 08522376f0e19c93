"""tools/compare_digits.py: one run end to end, and the table of several."""

import json
from pathlib import Path

import pytest

from mmdet_rank.cli import compare
from mmdet_rank.datasets.digits import DigitsOptions, build_digits

ROOT = Path(__file__).parents[2]
CONFIG = f"""
_base_ = {str(ROOT / "configs" / "digits" / "rs-retinanet_r18_fpn_digits.py")!r}
model = dict(
    backbone=dict(base_channels=8),
    neck=dict(in_channels=[8, 16, 32, 64], out_channels=16),
    bbox_head=dict(in_channels=16, feat_channels=16, stacked_convs=1),
    test_cfg=dict(score_thr=0.0, max_per_img=20))
default_hooks = dict(logger=dict(interval=1))
train_dataloader = dict(batch_size=4, num_workers=0, persistent_workers=False)
val_dataloader = dict(num_workers=0, persistent_workers=False)
test_dataloader = val_dataloader
"""


@pytest.mark.slow
def test_a_run_is_measured_once(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    build_digits(Path("data/digits"), DigitsOptions(train=8, val=4))
    Path("tiny.py").write_text(CONFIG)
    arguments = ["tiny.py", "--seeds", "5", "--epochs", "1", "--out", "figures.json"]
    assert compare.main(ROOT, arguments) == 0
    (figures,) = json.loads(Path("figures.json").read_text())["tiny"]
    assert set(figures) == {*compare.FIGURES, "correlation", "iteration"}
    assert 0 <= figures["AP"] <= figures["AP50"] <= 1
    assert 0 < figures["oLRP"] <= 1
    assert figures["iteration"] > 0
    assert "s/iteration" in capsys.readouterr().out
    checkpoint = next(Path("work_dirs/compare/tiny_seed5/training").glob("*.pth"))
    written = checkpoint.stat().st_mtime_ns
    assert compare.main(ROOT, arguments) == 0
    assert "Found" in capsys.readouterr().out
    assert checkpoint.stat().st_mtime_ns == written


def test_table_of_seeds():
    run = dict.fromkeys(compare.FIGURES, 0.25) | {"correlation": 0.5, "iteration": 0.125}
    other = run | {"AP": 0.35, "correlation": None}
    lines = compare.summary({"one": [run], "two": [run, other]}).splitlines()
    one, two = (next(line for line in lines if name in line) for name in ("one", "two"))
    assert "25.0" in one
    assert "±" not in one
    assert "30.0 ± 7.1" in two
    assert " - " in two


def test_missing_config(capsys):
    assert compare.main(ROOT, ["nowhere.py"]) == 1
    assert "nowhere.py does not exist" in capsys.readouterr().err
