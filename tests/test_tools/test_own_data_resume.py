"""`mmdet-rank train DATA --resume`: what it goes on from, and what stays; no step is trained."""

import os
import shutil
from types import SimpleNamespace

import labelled_data
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.logging import MessageHub
from mmengine.runner import get_priority

from mmdet_rank.cli import checkpoints
from mmdet_rank.cli.errors import UserError
from mmdet_rank.cli.main import main
from mmdet_rank.cli.own_data import command, training
from mmdet_rank.cli.own_data.moved import OwnBestHook
from mmdet_rank.files import write_json

REPORT = {"oLRP": 0.5, "AP": 0.4, "AP50": 0.7, "per_class": {}}


def save(path, value, **meta):
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": {"w": torch.tensor([float(value)])}, "meta": meta}, path)


class Ended:
    """A runner that has no step left; its model takes weights down."""

    def __init__(self, folder):
        self.folder = folder
        self.loaded = []
        self.model = SimpleNamespace(load_state_dict=lambda w: self.loaded.append(w["w"].item()))
        self.test_evaluator = SimpleNamespace(metrics=[SimpleNamespace(cat_ids=[1])])

    def test(self):
        report = REPORT | {"per_class": {"ring": {"threshold": 0.25}}}
        write_json(self.folder / "evaluation/report.bbox.lrp.json", report)


def ended(folder, **checkpoint):
    cfg = Config(
        dict(
            test_evaluator=dict(metric="bbox"),
            metainfo=dict(classes=("ring",)),
            default_hooks=dict(checkpoint=dict(save_best="coco/bbox_oLRP") | checkpoint),
        )
    )
    runner = Ended(folder)
    assert training._evaluate(cfg, folder, runner)["oLRP"] == 0.5
    best = torch.load(folder / "best.pth", weights_only=True)
    assert [best["state_dict"]["w"].item()] == runner.loaded
    return runner.loaded[0], best["meta"]["iter"]


def test_each_end_keeps_the_best_checkpoint_and_those_of_the_training(tmp_path):
    folder = tmp_path / "training"
    for iteration in (3, 6):
        save(folder / f"iter_{iteration}.pth", iteration, iter=iteration)
    save(folder / "best_coco_bbox_oLRP_iter_3.pth", 3, iter=3)
    steps = {folder / "iter_3.pth", folder / "iter_6.pth"}
    for _ in range(3):
        assert ended(tmp_path) == (3, 3)
        assert set(folder.glob("*.pth")) == steps
    # A longer training whose later evaluations are no better, and one in which one is.
    save(folder / "iter_9.pth", 9, iter=9)
    assert ended(tmp_path) == (3, 3)
    save(folder / "best_coco_bbox_oLRP_iter_8.pth", 8, iter=8)
    assert ended(tmp_path) == (8, 8)
    assert set(folder.glob("*.pth")) == steps | {folder / "iter_9.pth"}
    # Where none is kept as the best, the latest counts.
    assert ended(tmp_path, save_best=None) == (9, 9)
    assert (folder / "iter_9.pth").is_file()


def prepared(tmp_path, monkeypatch, *options):
    """Arguments of a training whose steps are left out, and its folder."""
    data = labelled_data.write_voc(tmp_path / "data")
    work = tmp_path / "work"
    arguments = ["train", str(data), "--work-dir", str(work), "--base", "none", *options]
    monkeypatch.setattr(command, "run", lambda *args, **kwargs: REPORT)
    monkeypatch.setattr(command, "class_table", lambda report: "")
    monkeypatch.setattr(command, "training_advice", lambda *args: None)
    return arguments, work


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "add --resume to the same command for what it leaves"),
        (OSError("no space"), 1, "The training is done, but not its page: OSError: no space"),
    ],
)
def test_a_page_that_is_not_written_is_told_in_a_sentence(
    tmp_path, monkeypatch, capsys, error, code, message
):
    def fail(*args, **kwargs):
        raise error

    arguments, _ = prepared(tmp_path, monkeypatch)
    monkeypatch.setattr(command, "write_report", fail)
    assert main(arguments) == code
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max-iters", "9"], "--max-iters 4, but got 9; leave it out"),
        (["--seed", "5"], "--seed 0, but got 5; leave it out"),
        (["--amp"], "--amp not given, but got given; leave it out"),
        (["--detector", "rs-retinanet"], "--detector rs-atss, but got rs-retinanet;"),
        (["--test-share", "0.1"], "--test-share 0.0, but got 0.1;"),
        (["--cfg-options", "a.b=2", "c=(1,2)"], "--cfg-options a.b=1 c=(1, 2), but got a.b=2 "),
    ],
)
def test_what_does_not_belong_to_the_training_is_refused(
    tmp_path, monkeypatch, capsys, options, message
):
    state = {"data": str(tmp_path), "detector": "rs-atss", "folder": str(tmp_path)}
    before = command._DECISIVE | dict(
        max_iters=4, base="none", cfg_options=command._comparable({"a.b": 1, "c": (1, 2)})
    )
    write_json(tmp_path / "annotations/training.json", state | {"arguments": before})
    (tmp_path / "config.py").write_text("")
    resume = ["train", str(tmp_path), "--work-dir", str(tmp_path), "--resume"]
    assert main([*resume, *options]) == 1
    assert message in capsys.readouterr().err
    assert main(["train", str(tmp_path / "other"), *resume[2:]]) == 1
    assert f"Expected {tmp_path}, the data of the training" in capsys.readouterr().err


def test_the_same_command_goes_on_and_says_with_what(tmp_path, monkeypatch, capsys):
    options = ["--detector", "rs-retinanet", "--seed", "3", "--max-iters", "4"]
    settings = ["--cfg-options", "train_cfg.val_interval=3", "env_cfg.cudnn_benchmark=True"]
    arguments, work = prepared(tmp_path, monkeypatch, *options, *settings)
    monkeypatch.setattr(command, "write_report", lambda *args, **kwargs: "report.html")
    assert main(arguments) == 0
    capsys.readouterr()
    shorter = [*arguments[:4], "--detector", "rs-retinanet"]
    for again in (arguments, shorter):
        assert main([*again, "--resume"]) == 0
        said = capsys.readouterr().out
        assert f"Going on with rs-retinanet on {tmp_path / 'data'}\n" in said
        assert f"There is no checkpoint yet in {work / 'training'}: training begins anew" in said
    save(work / "training/iter_2.pth", 2)
    assert main([*arguments, "--resume"]) == 0
    assert "There is no checkpoint" not in capsys.readouterr().out


def test_what_a_training_left_is_not_written_over(tmp_path, monkeypatch, capsys):
    """Even where the checkpoints to go on from were removed."""
    arguments, work = prepared(tmp_path, monkeypatch)
    monkeypatch.setattr(command, "write_report", lambda *args, **kwargs: "report.html")
    assert main(arguments) == 0
    save(work / "best.pth", 1)
    assert main(arguments) == 1
    assert "has checkpoints; add --resume" in capsys.readouterr().err
    assert main([*arguments, "--resume"]) == 1
    assert f"but there is only what the training left, {work}/best.pth" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("set.v1", "set.v1"),
        ("set.v2/data.yaml", "set.v2"),
        ("set.v2/dataset.yml", "set.v2"),
        ("coco/cells.json", "cells"),
    ],
)
def test_data_sets_of_other_names_get_other_folders(tmp_path, monkeypatch, data, name):
    monkeypatch.chdir(tmp_path)
    folders = []

    def stop(args, detector, folder):
        folders.append(folder)
        raise UserError("stop")

    monkeypatch.setattr(command, "_prepare", stop)
    assert main(["train", data]) == 1
    assert folders == [tmp_path / "work_dirs" / f"rs-atss_{name}"]


@pytest.mark.parametrize(
    ("copied", "by"),
    [("copy", shutil.copy2), ('it\'s a "copy"', shutil.copy2), ("links", os.symlink)],
)
def test_a_copy_is_trained_where_it_lies(tmp_path, monkeypatch, copied, by):
    """Of the original nothing is read or removed, and its path is no more than a text."""
    arguments, work = prepared(tmp_path, monkeypatch)
    monkeypatch.setattr(command, "write_report", lambda *args, **kwargs: "report.html")
    assert main(arguments) == 0
    config = work / "config.py"
    start = f"load_from = {str(work / 'annotations/start.pt')!r}"
    config.write_text(config.read_text().replace("load_from = None", start))
    save(work / "training/iter_2.pth", 2)
    (work / "training/last_checkpoint").write_text(str(work / "training/iter_2.pth"))
    copy = tmp_path / copied
    shutil.copytree(work, copy, copy_function=by)
    originals = [config, work / "training/last_checkpoint", work / command.STATE]
    before = [original.read_bytes() for original in originals]

    def stop(cfg):
        built.append(cfg)
        raise UserError("stop")

    built = []
    monkeypatch.setattr(training, "build_runner", stop)
    monkeypatch.setattr(training, "select_start", lambda cfg, resume, trust: None)
    monkeypatch.setattr(command, "run", training.run)
    assert main([*arguments[:3], str(copy), *arguments[4:], "--resume"]) == 1
    (cfg,) = built
    assert cfg.work_dir == str(copy / "training")
    assert cfg.load_from == str(copy / "annotations/start.pt")
    for split in ("train", "val"):
        assert cfg[f"{split}_dataloader"].dataset.ann_file == str(
            copy / f"annotations/{split}.json"
        )
    assert cfg.val_evaluator.ann_file == str(copy / "annotations/val.json")
    assert cfg.train_dataloader.dataset.data_prefix.img == str(tmp_path / "data")
    assert checkpoints.find_latest(cfg.work_dir) == str(copy / "training/iter_2.pth")
    # What is tested afterwards comes from the file.
    assert Config.fromfile(copy / "config.py").test_evaluator.ann_file.startswith(str(copy))
    assert [original.read_bytes() for original in originals] == before
    assert command.load_json(copy / command.STATE)["folder"] == str(copy)


def test_a_copy_removes_its_own_best_checkpoint():
    hub = MessageHub("test_own_data_resume")
    hub.update_info("best_ckpt", "/original/training/best_coco_bbox_oLRP_iter_2.pth")
    hub.update_info("best_score", 0.5)
    OwnBestHook().before_train(SimpleNamespace(work_dir="/copy/training", message_hub=hub))
    own = "/copy/training/best_coco_bbox_oLRP_iter_2.pth"
    assert (hub.get_info("best_ckpt"), hub.get_info("best_score")) == (own, 0.5)
    assert get_priority(OwnBestHook.priority) < get_priority(CheckpointHook.priority)
