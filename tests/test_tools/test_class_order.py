"""Classes named in another order than the categories of the annotation file."""

from __future__ import annotations

import json

import commands
import pytest
import tiny_detection
import torch
from mmengine.config import Config

from mmdet_rank.cli.class_order import order_classes
from mmdet_rank.cli.evaluators import check_truth_of_each_set


@pytest.fixture
def tiny(tmp_path):
    """A config that names the classes in another order than its annotation file."""
    data = tiny_detection.write_data(tmp_path)
    config = tiny_detection.write_config(tmp_path, data, epochs=1)
    text = config.read_text()
    classes = 'metainfo = dict(classes=("disc", "bar"))'
    assert classes in text
    other = 'metainfo = dict(classes=("bar", "disc"), palette=[(1, 1, 1), (2, 2, 2)])'
    config.write_text(text.replace(classes, other))
    return config, data


def write_other(data, change):
    """A copy of the annotation file with something changed."""
    content = json.loads((data / "annotations.json").read_text())
    change(content)
    (data / "other.json").write_text(json.dumps(content))


def test_names_and_colours_follow_the_file(tiny):
    cfg = Config.fromfile(tiny[0])
    order_classes(cfg)
    for split in ("train", "val", "test"):
        metainfo = cfg[f"{split}_dataloader"].dataset.metainfo
        assert metainfo.classes == ("disc", "bar")
        assert list(map(tuple, metainfo.palette)) == [(2, 2, 2), (1, 1, 1)]
    again = Config.fromfile(tiny[0])
    again.train_dataloader.dataset = dict(
        type="RepeatDataset", dataset=cfg.train_dataloader.dataset
    )
    again.train_dataloader.dataset.dataset.metainfo = dict(classes=["bar", "disc"])
    order_classes(again)
    assert again.train_dataloader.dataset.dataset.metainfo.classes == ("disc", "bar")


def test_checkpoint_has_the_right_names(tiny, tmp_path):
    config, _ = tiny
    assert commands.train([str(config), "--work-dir", str(tmp_path / "run")]) == 0
    checkpoint = torch.load(tmp_path / "run" / "epoch_1.pth", weights_only=False)
    assert checkpoint["meta"]["dataset_meta"]["classes"] == ("disc", "bar")


def test_files_of_different_order_are_refused(tiny, capsys):
    config, data = tiny
    write_other(data, lambda content: content["categories"].reverse())
    arguments = [str(config), "--work-dir", str(data / "run")]
    option = "val_dataloader.dataset.ann_file=other.json"
    assert commands.train([*arguments, "--cfg-options", option]) == 1
    message = capsys.readouterr().err
    assert f"{data}/annotations.json has disc, bar, and {data}/other.json has bar, disc" in message
    assert not list(data.glob("run/*.pth"))


def test_some_of_the_categories_are_enough(tiny):
    config, data = tiny
    write_other(data, lambda content: content["categories"].insert(1, {"id": 9, "name": "ring"}))
    cfg = Config.fromfile(config)
    cfg.val_dataloader.dataset.ann_file = "other.json"
    order_classes(cfg)
    assert cfg.val_dataloader.dataset.metainfo.classes == ("disc", "bar")


@pytest.mark.parametrize("content", ["{", "[]", '{"categories": [{"id": 1}]}', None])
def test_broken_files_are_left_to_those_who_read_them(tiny, content):
    config, data = tiny
    if content is None:
        (data / "annotations.json").unlink()
    else:
        (data / "annotations.json").write_text(content)
    cfg = Config.fromfile(config)
    order_classes(cfg)
    assert cfg.train_dataloader.dataset.metainfo.classes == ("bar", "disc")


def test_evaluation_by_another_file_is_warned_of(tiny, monkeypatch):
    config, data = tiny
    warnings = []
    monkeypatch.setattr(
        "mmdet_rank.cli.evaluators.print_log", lambda text, **_: warnings.append(text)
    )
    cfg = Config.fromfile(config)
    check_truth_of_each_set(cfg, "val", [data / "annotations.json"])
    assert not warnings
    check_truth_of_each_set(cfg, "val", [data / "other.json"])
    (warning,) = warnings
    assert f"val_evaluator.ann_file is {data}/annotations.json" in warning
    assert f"those of {data}/other.json" in warning


def test_objects_without_iscrowd_are_evaluated(tiny, tmp_path):
    config, data = tiny
    config.write_text(config.read_text().replace('"CocoMetric"', '"CocoLRPMetric"'))
    arguments = [str(config), "--work-dir", str(tmp_path / "run")]
    assert commands.train(arguments) == 0
    arguments.insert(1, str(tmp_path / "run" / "epoch_1.pth"))
    figures = commands.figures(arguments)
    write_other(data, lambda content: [a.pop("iscrowd") for a in content["annotations"]])
    (data / "other.json").replace(data / "annotations.json")
    assert commands.figures(arguments) == pytest.approx(figures, nan_ok=True)
