"""tools/demo.py, end to end on a tiny detector: what it leaves, and what it does not do twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from mmdet_rank.cli import demo
from mmdet_rank.cli.main import main

ROOT = Path(__file__).parents[2]
CONFIG = f"""
_base_ = {str(ROOT / "configs" / "digits" / "rs-atss_r18_fpn_digits.py")!r}
model = dict(
    backbone=dict(base_channels=8),
    neck=dict(in_channels=[8, 16, 32, 64], out_channels=32),
    bbox_head=dict(
        in_channels=32, feat_channels=32, stacked_convs=1,
        loss_cls=dict(delta=0.5)),
    test_cfg=dict(score_thr=0.0, max_per_img=20))
train_cfg = dict(max_epochs=2)
default_hooks = dict(logger=dict(interval=1))
train_dataloader = dict(batch_size=4, num_workers=0, persistent_workers=False)
val_dataloader = dict(num_workers=0, persistent_workers=False)
test_dataloader = val_dataloader
"""


def run(folder, *arguments):
    return subprocess.run(
        [
            *(sys.executable, str(ROOT / "tools" / "demo.py"), "--config", "tiny.py"),
            *("--train", "8", "--val", "4", *arguments),
        ],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    (folder / "tiny.py").write_text(CONFIG)
    done = run(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done


@pytest.mark.slow
def test_it_ends_with_one_table_of_the_results(finished):
    folder, done = finished
    for step in range(1, 5):
        assert f"[{step}/4]" in done.stdout
    assert "4/4" in done.stderr, "the progress bar of the training: 2 epochs of 2 iterations"
    header, _, row = done.stdout.strip().splitlines()[-3:]
    assert header.split() == [
        *("detector", "AP", "AP50", "AP75"),
        *("oLRP", "oLRP_Loc", "oLRP_FP", "oLRP_FN", "training"),
    ]
    report = json.loads((folder / "work_dirs/demo/evaluation/report.bbox.lrp.json").read_text())
    assert row.split()[:2] == ["tiny", f"{100 * report['AP']:.1f}"]
    assert row.split()[4] == f"{100 * report['oLRP']:.1f}"


@pytest.mark.slow
def test_it_leaves_pictures_of_detections_and_the_training_curve(finished):
    folder, _ = finished
    results = folder / "work_dirs" / "demo"
    pictures = sorted((results / "pictures").iterdir())
    assert [path.name for path in pictures] == [f"{k:06d}.png" for k in range(1, 5)]
    assert cv2.imread(str(pictures[0])).shape == (2 * 192, 2 * 2 * 192, 3)
    assert cv2.imread(str(results / "detections.png")).shape[1] == 2 * 2 * 2 * 192 + 12
    assert cv2.imread(str(results / "training_curve.png")) is not None


@pytest.mark.slow
def test_a_second_run_repeats_nothing(finished):
    folder, done = finished
    results = folder / "work_dirs" / "demo"
    before = {path: path.stat().st_mtime_ns for path in results.rglob("*") if path.is_file()}
    again = run(folder)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("Found") == 4
    assert "$ python" not in again.stdout
    assert again.stdout.splitlines()[-3:] == done.stdout.splitlines()[-3:]
    after = {path: path.stat().st_mtime_ns for path in results.rglob("*") if path.is_file()}
    assert after == before


def test_mistakes_end_in_one_message(tmp_path):
    missing = run(tmp_path)
    assert missing.returncode == 1
    assert "Expected a config file, but tiny.py does not exist" in missing.stderr
    assert "Traceback" not in missing.stderr
    wrong = CONFIG.replace("feat_channels=32", "feat_channels=31")
    (tmp_path / "tiny.py").write_text(wrong)
    failed = run(tmp_path)
    assert failed.returncode == 1
    assert (
        "mmdet-rank train ended with exit code 1:\nerror: The config cannot be built"
        in failed.stderr
    )
    assert "Traceback" not in failed.stderr


@pytest.mark.parametrize(
    ("lines", "option", "message"),
    [
        ("", ["--train", "0"], "train"),
        ("val_evaluator = dict(metric='segm')", [], "a config that evaluates boxes"),
        (
            "val_dataloader = dict(dataset=dict(metainfo=dict(classes=['a'])))",
            [],
            "configs/digits/",
        ),
    ],
)
def test_configs_that_it_is_not_for_are_refused(tmp_path, lines, option, message):
    (tmp_path / "tiny.py").write_text(CONFIG + lines)
    refused = run(tmp_path, *option)
    assert refused.returncode == 1
    assert message in refused.stderr
    assert refused.stderr.splitlines()[-1].startswith("error: Expected")
    assert not (tmp_path / "data").exists()


def test_a_file_in_the_place_of_the_data_is_refused(tmp_path):
    (tmp_path / "tiny.py").write_text(CONFIG)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "digits").write_text("no folder")
    blocked = run(tmp_path)
    assert blocked.returncode == 1
    assert "is a file" in blocked.stderr
    assert "Traceback" not in blocked.stderr


def test_other_digits_are_refused_with_what_replaces_them(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = ["--train", "3", "--val", "2"]
    assert main(["make-digits", "--out", "data/digits", "--train", "2", "--val", "2"]) == 0
    assert main(["demo", *options]) == 1
    told = capsys.readouterr().err
    replace = "Replace it by mmdet-rank make-digits --out data/digits --train 3 --val 2 --overwrite"
    assert told.strip().endswith(replace)
    assert main(["make-digits", "--out", "data/digits", *options, "--overwrite"]) == 0


def test_ctrl_c_ends_in_a_sentence(tmp_path, monkeypatch, capsys):
    def interrupt(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo.Demo, "prepare_data", lambda self, options: None)
    monkeypatch.setattr(demo.Demo, "forget_other_runs", interrupt)
    (tmp_path / "tiny.py").write_text(CONFIG)
    arguments = ["--config", str(tmp_path / "tiny.py"), "--work-dir", str(tmp_path / "demo")]
    assert main(["demo", *arguments]) == 130
    said = "\ninterrupted: the same command goes on after the last epoch.\n"
    assert capsys.readouterr().err == said
