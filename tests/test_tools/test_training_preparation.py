"""The parts that training is prepared by, one by one."""

import argparse
import os
import zipfile

import mmdet_rank.register  # noqa: F401

import pytest
import torch._dynamo
from mmengine.config import Config

from mmdet_rank.cli import launch, progress
from mmdet_rank.cli.checkpoints import find_latest
from mmdet_rank.cli.config import load_config
from mmdet_rank.cli.main import main
from mmdet_rank.cli.train import make_resumable
from mmdet_rank.files import written_whole


def checkpoint(path, age):
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.pkl", "weights")
    os.utime(path, (1_000_000 - age, 1_000_000 - age))
    return str(path)


def test_the_latest_checkpoint(tmp_path):
    assert find_latest(str(tmp_path)) is None
    # By its age, not by its name; the best is not the latest, nor is one cut short.
    old = checkpoint(tmp_path / "epoch_9.pth", age=50)
    new = checkpoint(tmp_path / "epoch_10.pth", age=40)
    checkpoint(tmp_path / "best_coco_bbox_mAP_epoch_3.pth", age=10)
    cut = tmp_path / "epoch_11.pth"
    cut.write_bytes(b"half")
    os.utime(cut, (1_000_000 - 5, 1_000_000 - 5))
    (tmp_path / "last_checkpoint").write_text("\n")
    assert find_latest(str(tmp_path)) == new
    # What MMEngine has noted comes first.
    (tmp_path / "last_checkpoint").write_text(f"{old}\n")
    assert find_latest(str(tmp_path)) == old
    (tmp_path / "last_checkpoint").write_text(str(cut))
    assert find_latest(str(tmp_path)) == new
    # Also in a folder that was moved since.
    (tmp_path / "last_checkpoint").write_text("/elsewhere/epoch_9.pth")
    assert find_latest(str(tmp_path)) == old
    # Or that was copied from one that is still there.
    original = checkpoint(tmp_path / "original" / "epoch_9.pth", age=50)
    (tmp_path / "last_checkpoint").write_text(original)
    assert find_latest(str(tmp_path)) == old
    # One that lies elsewhere by `out_dir`.
    elsewhere = checkpoint(tmp_path / "original" / "epoch_12.pth", age=50)
    (tmp_path / "last_checkpoint").write_text(elsewhere)
    assert find_latest(str(tmp_path)) == elsewhere


@pytest.mark.parametrize(
    ("given", "options", "expected"),
    [
        (1, {}, 2),
        (1, {"default_hooks.checkpoint.max_keep_ckpts": 1}, 1),
        (2, {}, 2),
        (3, {}, 3),
        (-1, {}, -1),
    ],
)
def test_one_checkpoint_kept_would_be_none_for_a_moment(given, options, expected):
    cfg = Config(
        dict(
            train_cfg=dict(by_epoch=True, max_epochs=2),
            train_dataloader=dict(persistent_workers=True),
            default_hooks=dict(checkpoint=dict(max_keep_ckpts=given)),
        )
    )
    make_resumable(cfg, options)
    assert cfg.default_hooks.checkpoint.max_keep_ckpts == expected


@pytest.mark.parametrize(
    ("length", "options", "expected"),
    [
        (dict(by_epoch=True, max_epochs=2), {}, False),
        (dict(type="EpochBasedTrainLoop", max_epochs=2), {}, False),
        (dict(by_epoch=False, max_iters=2), {}, True),
        (dict(by_epoch=True), {"train_dataloader.persistent_workers": True}, True),
    ],
)
def test_workers_may_outlive_an_epoch_where_there_is_none(length, options, expected):
    cfg = Config(dict(train_cfg=length, train_dataloader=dict(persistent_workers=True)))
    make_resumable(cfg, options)
    assert cfg.train_dataloader.persistent_workers is expected


def batch_config(accumulated, base=16, **scaling):
    return Config(
        dict(
            train_dataloader=dict(batch_size=2),
            optim_wrapper=dict(accumulative_counts=accumulated),
            auto_scale_lr=dict(base_batch_size=base, **scaling),
        )
    )


def test_the_warned_batch_counts_what_is_accumulated(monkeypatch):
    told = []
    monkeypatch.setattr(launch, "print_log", lambda text, **kwargs: told.append(text))
    launch.warn_of_batch_size(batch_config(accumulated=8))
    launch.warn_of_batch_size(batch_config(accumulated=1, base=2))
    launch.warn_of_batch_size(batch_config(accumulated=4, enable=True))
    assert told == []
    launch.warn_of_batch_size(batch_config(accumulated=4))
    launch.warn_of_batch_size(batch_config(accumulated=1))
    assert "1 process(es) x 2 images x 4 accumulated = 8." in told[0]
    assert "by 0.5," in told[0]
    assert "1 process(es) x 2 images = 2." in told[1]
    assert "by 0.125," in told[1]


class Bar:
    """Notes what a progress bar shows."""

    def __init__(self):
        self.total, self.n, self.shown = None, 0, []

    def set_postfix(self, **values):
        self.values = values

    def refresh(self):
        self.shown.append((self.n, self.total, self.values["loss"]))


def test_the_bar_counts_iterations_of_all_epochs(tmp_path):
    log, bar = tmp_path / "log", Bar()
    line = "07/01 - mmengine - INFO - Epoch(train)  [{}][{:>3}/375]  lr: 1e-2  loss: {}  x: 0\n"
    first = line.format(1, 20, 1.25) + line.format(2, 375, 0.5)
    log.write_text(first + line.format(3, 7, "nan")[:40])
    position = progress._advance(bar, log, 0, epochs=3)
    assert bar.shown == [(20, 1125, "1.25"), (750, 1125, "0.5")]
    # A line that was not whole is read when it is.
    assert position == len(first)
    log.write_text(first + line.format(3, 7, "nan"))
    assert progress._advance(bar, log, position, epochs=3) == log.stat().st_size
    assert bar.shown[2:] == [(757, 1125, "nan")]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_written_files_have_the_mode_of_all_others(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        with written_whole(tmp_path / "report.json") as temporary:
            assert temporary.stat().st_mode & 0o777 == 0o600
            temporary.write_text("{}")
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert (tmp_path / "report.json").stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("command", ["train", "test"])
def test_compiled_graphs_are_kept_as_many_as_asked_for(command, monkeypatch):
    # What MMDetection's own tools do first, by its own function.
    monkeypatch.setenv("DYNAMO_CACHE_SIZE_LIMIT", "5")
    config = torch._dynamo.config
    before = config.cache_size_limit
    try:
        assert main([command, "missing.py", *["missing.pth"] * (command == "test")]) == 1
        assert config.cache_size_limit == 5
    finally:
        config.cache_size_limit = before


def test_a_path_given_by_itself_is_not_moved_with_the_data(tmp_path):
    """Also where the new folder lies in the old one."""
    file = tmp_path / "own.py"
    file.write_text(
        "data_root = 'data/coco/'\n"
        "val_dataloader = dict(dataset=dict(data_root=data_root))\n"
        "val_evaluator = dict(ann_file=data_root + 'annotations/all.json')\n"
        "test_evaluator = dict(ann_file=data_root + 'annotations/all.json')\n"
    )
    options = {
        "data_root": "data/coco/mini/",
        "val_evaluator.ann_file": "data/coco/mini/annotations/v.json",
    }
    args = argparse.Namespace(config=str(file), cfg_options=options, launcher="none", work_dir=None)
    cfg = load_config(args)
    assert cfg.val_dataloader.dataset.data_root == cfg.data_root == "data/coco/mini/"
    assert cfg.val_evaluator.ann_file == "data/coco/mini/annotations/v.json"
    assert cfg.test_evaluator.ann_file == "data/coco/mini/annotations/all.json"
