"""Classes named in another order than the categories of the annotation file."""

from __future__ import annotations

import json
from copy import deepcopy

import commands
import pytest
import tiny_detection
import torch
from mmengine.config import Config

from mmdet_rank.cli.class_order import order_classes
from mmdet_rank.cli.errors import UserError
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


def warnings_of(monkeypatch):
    """The warnings that `order_classes` will give."""
    told = []
    monkeypatch.setattr(
        "mmdet_rank.cli.class_order.print_log", lambda text, **options: told.append(text)
    )
    return told


def test_numbers_of_classes_follow_the_file(tiny, tmp_path, monkeypatch):
    told = warnings_of(monkeypatch)
    cfg = Config.fromfile(tiny[0])
    loss = dict(type="REGLoss", use_sigmoid=True, class_counts=[200, 100])
    cfg.model.bbox_head.loss_cls = loss
    cfg.model.more_heads = [
        dict(num_classes=2, loss=dict(alpha=(0.25, 0.75), class_weight=None)),
        # The last one is of background.
        dict(num_classes=2, loss_cls=dict(class_weight=[2.0, 1.0, 0.1], alpha=0.5)),
        # These are of other classes, or of none.
        dict(num_classes=1, loss_cls=dict(class_weight=[3.0, 4.0])),
        dict(loss_cls=dict(class_weight=[1, 2, 3, 4], class_counts="auto", weights=[5, 6])),
    ]
    cfg.model.rpn_head = dict(loss_cls=dict(class_weight=[1.0, 0.5]))
    order_classes(cfg)
    assert cfg.model.bbox_head.loss_cls == loss | dict(class_counts=[100, 200])
    assert [dict(next(reversed(head.values()))) for head in cfg.model.more_heads] == [
        dict(alpha=[0.75, 0.25], class_weight=None),
        dict(class_weight=[1.0, 2.0, 0.1], alpha=0.5),
        dict(class_weight=[3.0, 4.0]),
        dict(class_weight=[1, 2, 3, 4], class_counts="auto", weights=[5, 6]),
    ]
    assert cfg.model.rpn_head.loss_cls.class_weight == [1.0, 0.5]
    assert len(told) == 3
    assert told[0].endswith(
        "which gives the labels: disc, bar. So are the numbers that the model's config has for "
        "each class: model.bbox_head.loss_cls.class_counts is 100, 200; model.more_heads[0].loss."
        "alpha is 0.75, 0.25; model.more_heads[1].loss_cls.class_weight is 1.0, 2.0, 0.1."
    )
    assert all(text.endswith("which gives the labels: disc, bar.") for text in told[1:])
    # What is saved beside the checkpoints belongs together, and is left as it is.
    cfg.dump(tmp_path / "saved.py")
    saved = Config.fromfile(tmp_path / "saved.py")
    order_classes(saved)
    assert saved.model == cfg.model
    assert len(told) == 3


def test_numbers_of_three_classes_go_where_their_classes_go(tiny):
    """Two change places; three may move in a circle, one way or the other."""
    config, data = tiny
    write_other(data, lambda content: content["categories"].append({"id": 9, "name": "ring"}))
    cfg = Config.fromfile(config)
    for dataset in (cfg.train_dataloader.dataset, cfg.val_dataloader.dataset):
        dataset.ann_file = "other.json"
        dataset.metainfo.classes = ("ring", "disc", "bar")
    cfg.model.bbox_head.num_classes = 3
    cfg.model.bbox_head.loss_cls = dict(class_weight=[9, 1, 2, 0.1])
    # As two heads that have one loss between them.
    cfg.model.other_head = dict(num_classes=3, loss_cls=cfg.model.bbox_head.loss_cls)
    order_classes(cfg)
    assert cfg.train_dataloader.dataset.metainfo.classes == ("disc", "bar", "ring")
    assert cfg.model.bbox_head.loss_cls.class_weight == [1, 2, 9, 0.1]
    assert cfg.model.other_head.loss_cls is cfg.model.bbox_head.loss_cls


def test_numbers_of_classes_are_those_of_the_training_data(tiny):
    cfg = Config.fromfile(tiny[0])
    cfg.train_dataloader.dataset.metainfo.classes = ("disc", "bar")
    cfg.model.bbox_head.loss_cls.alpha = [0.2, 0.8]
    order_classes(cfg)
    assert cfg.val_dataloader.dataset.metainfo.classes == ("disc", "bar")
    assert cfg.model.bbox_head.loss_cls.alpha == [0.2, 0.8]


def test_training_data_of_one_order_keep_their_numbers_together(tiny):
    cfg = Config.fromfile(tiny[0])
    one = cfg.train_dataloader.dataset
    cfg.train_dataloader.dataset = dict(type="ConcatDataset", datasets=[one, one])
    assert one is cfg.train_dataloader.dataset.datasets[1]
    cfg.model.bbox_head.loss_cls.alpha = [0.2, 0.8]
    order_classes(cfg)
    assert one.metainfo.classes == ("disc", "bar")
    assert cfg.model.bbox_head.loss_cls.alpha == [0.8, 0.2]


@pytest.mark.parametrize("first", ["bar, disc", "disc, bar"])
def test_numbers_of_classes_in_two_orders_are_refused(first, tiny):
    cfg = Config.fromfile(tiny[0])
    both = [deepcopy(cfg.train_dataloader.dataset) for _ in range(2)]
    second = ", ".join(reversed(first.split(", ")))
    for dataset, names in zip(both, (first, second), strict=True):
        dataset.metainfo = dict(classes=names.split(", "))
    cfg.train_dataloader.dataset = dict(type="ConcatDataset", datasets=both)
    weighed = deepcopy(cfg)
    order_classes(cfg)  # without such numbers
    orders = [dataset.metainfo.classes for dataset in cfg.train_dataloader.dataset.datasets]
    assert orders == [("disc", "bar")] * 2
    weighed.model.bbox_head.loss_cls.class_weight = [1.0, 3.0]
    with pytest.raises(UserError) as raised:
        order_classes(weighed)
    where = "train_dataloader.dataset.datasets"
    places = {names: f"{where}[{i}] has {names}" for i, names in enumerate((first, second))}
    assert str(raised.value) == (
        "Expected all training data to name their classes in one order beside model.bbox_head."
        "loss_cls.class_weight, which has a number for each, but "
        f"{places['bar, disc']}, and {places['disc, bar']}; write metainfo.classes of each, and "
        "the numbers, in the order of the annotation file: disc, bar"
    )


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
