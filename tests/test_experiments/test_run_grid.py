"""experiments/run_grid.py: cells that build, two of them end to end, tables, mistakes."""

import argparse
import copy
import functools
import json
from pathlib import Path

import grids
import numpy as np
import pytest
import run_grid
import runs
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from configs import load_config
from mmdet_rank.cli.errors import UserError
from mmdet_rank.criteria.balance import EpochBalance

ROOT = Path(__file__).parents[2]
cached_config = functools.cache(load_config)


def load_cell(cell):
    """The config of a cell with its options."""
    config = copy.deepcopy(cached_config(f"digits/{cell.config}.py"))
    config.merge_from_dict(parsed(cell.options))
    return config


def parsed(options):
    parser = argparse.ArgumentParser()
    parser.add_argument("--options", nargs="+", action=DictAction, default={})
    return parser.parse_args(["--options", *options]).options if options else {}


@pytest.mark.parametrize("number", grids.GRIDS)
def test_every_cell_is_a_model(number):
    init_default_scope("mmdet")
    seen = set()
    for name, cell in grids.GRIDS[number].cells.items():
        config = load_cell(cell)
        parts = dict(model=config.model.to_dict(), train_cfg=config.train_cfg.to_dict())
        key = json.dumps(parts, sort_keys=True, default=str)
        assert key not in seen, name
        seen.add(key)
        if len(seen) % 4 != 1:
            continue  # all differ, and a few of each table are built
        head = config.model.bbox_head if "bbox_head" in config.model else config.model.roi_head
        train_cfg = config.model.train_cfg
        MODELS.build(head | dict(train_cfg=train_cfg.get("rcnn", train_cfg), test_cfg=None))


def test_options_reach_the_criterion():
    def criterion(number, name):
        config = load_cell(grids.GRIDS[number].cells[name])
        init_default_scope("mmdet")
        return MODELS.build(
            config.model.bbox_head | dict(train_cfg=config.model.train_cfg)
        ).criterion

    assert criterion("N.2", "1.5").delta_loc == 1.5
    assert criterion("N.2", "None").delta_loc is None
    assert criterion("N.2", "0").instance_weight == "ranking"
    assert criterion("P.1", "0.25").loss_cls.delta == 0.25
    assert criterion("sorting", "ranking alone").loss_cls.sort is False
    assert criterion("7.2", "15").loss_bbox.loss_weight == 15
    assert criterion("8.1", "iou x 3").loss_bbox.loss_weight == 3


@pytest.mark.parametrize(
    ("number", "name", "losses"),
    [
        ("7.4", "cross entropy", {"loss_cls", "loss_bbox"}),
        ("8.4", "focal x ATSS", {"loss_cls", "loss_bbox"}),
        ("8.4", "QFL x PAA", {"loss_cls", "loss_bbox"}),
        ("8.7", "neither", {"loss_cls", "loss_bbox", "loss_mask", "loss_segm"}),
        ("P.3", "mean", {"loss_cls", "loss_bbox", "loss_mask"}),
        ("L.1", "zero", {"loss_cls", "loss_bbox"}),
        ("N.1", "aLRP x end", {"loss_rpn_cls", "loss_rpn_bbox", "loss_cls", "loss_bbox"}),
    ],
)
def test_cells_that_no_other_table_has_give_a_loss(number, name, losses):
    init_default_scope("mmdet")
    torch.manual_seed(0)
    model = MODELS.build(load_cell(grids.GRIDS[number].cells[name]).model)
    for module in model.modules():
        if isinstance(module, EpochBalance):
            module.period = 10  # as SelfBalanceHook does
    samples = []
    for labels in ([1], [0, 9]):
        sample = DetDataSample(metainfo=dict(
            img_shape=(64, 64), ori_shape=(64, 64), pad_shape=(64, 64),
            batch_input_shape=(64, 64), scale_factor=(1.0, 1.0)))  # fmt: skip
        boxes = torch.tensor([[4.0, 8.0, 40.0, 44.0], [20.0, 2.0, 60.0, 50.0]])[: len(labels)]
        masks = BitmapMasks(np.ones((len(labels), 64, 64), dtype=np.uint8), 64, 64)
        sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.tensor(labels), masks=masks)
        sample.ignored_instances = InstanceData(bboxes=boxes[:0], labels=torch.tensor(labels[:0]))
        samples.append(sample)
    found = model.loss(torch.randn(2, 3, 64, 64), samples)
    assert {key for key in found if "loss" in key} == losses
    total = sum(sum(v) if isinstance(v, list) else v for k, v in found.items() if "loss" in k)
    assert torch.isfinite(total)
    total.backward()
    assert any(p.grad.abs().sum() > 0 for p in model.backbone.parameters() if p.grad is not None)


def test_runs_of_cells_and_seeds(tmp_path, monkeypatch, capsys):
    calls = []

    def run_once(config, seed, epochs, work_dir, options, iterations):
        assert config.is_file()
        assert iterations is None
        calls.append((config.stem, seed, epochs, work_dir.relative_to(tmp_path), options))
        return {"boxes": dict.fromkeys(run_grid.FIGURES, 0.25) | {"correlation": 0.5}}

    monkeypatch.setattr(run_grid, "run_once", run_once)
    monkeypatch.chdir(tmp_path)
    Path("d20").mkdir()
    Path("d20/manifest.json").write_text('{"options": {"imbalance": 20}}')
    arguments = ["4.2", "--seeds", "0", "3", "--epochs", "2", "--work-dir", str(tmp_path),
                 "--data", "d20", "--out", str(tmp_path / "out.json"),
                 "--cfg-options", "a=1"]  # fmt: skip
    assert run_grid.main(arguments) == 0
    common = [
        *(f"{split}_dataloader.dataset.data_root=d20/" for split in ("train", "val", "test")),
        "val_evaluator.ann_file=d20/annotations/instances_val.json",
        "test_evaluator.ann_file=d20/annotations/instances_val.json",
        "a=1",
    ]
    ofb = "model.train_cfg.rcnn.sampler.type=OnlineForegroundBalancedSampler"
    stem = "faster-rcnn_r18_fpn_digits"
    assert calls == [
        (stem, 0, 2, Path("4.2/random"), common),
        (stem, 3, 2, Path("4.2/random"), common),
        (stem, 0, 2, Path("4.2/OFB"), [ofb, *common]),
        (stem, 3, 2, Path("4.2/OFB"), [ofb, *common]),
    ]
    figures = json.loads((tmp_path / "out.json").read_text())
    assert {name: len(runs) for name, runs in figures.items()} == {"random": 2, "OFB": 2}
    assert "| OFB | 25.0 ± 0.0 | " in capsys.readouterr().out
    # Runs of other settings are not mixed with these.
    assert run_grid.main([*arguments[:5], "1", *arguments[6:]]) == 1
    assert "another --work-dir" in capsys.readouterr().err


@pytest.mark.parametrize(("number", "imbalance"), [("4.2", 1.0), ("4.2", 20.0), ("sorting", 1.0)])
def test_equal_classes_are_noted_where_they_should_not_be(
    number, imbalance, tmp_path, monkeypatch, capsys
):
    run = {"boxes": dict.fromkeys(run_grid.FIGURES, 0.25) | {"correlation": 0.5}}
    monkeypatch.setattr(run_grid, "run_once", lambda *args: run)
    (tmp_path / "manifest.json").write_text(json.dumps({"options": {"imbalance": imbalance}}))
    arguments = [number, "--seeds", "0", "--data", str(tmp_path), "--work-dir", str(tmp_path / "w")]
    assert run_grid.main(arguments) == 0
    noted = "Note: table 4.2 is about classes of unequal numbers" in capsys.readouterr().err
    assert noted == (number == "4.2" and imbalance == 1)


def test_budget_by_iterations(tmp_path, monkeypatch, capsys):
    calls = []

    def run_once(config, seed, epochs, work_dir, options, iterations):
        calls.append((epochs, iterations))
        return {"boxes": dict.fromkeys(run_grid.FIGURES, 0.25) | {"correlation": 0.5}}

    monkeypatch.setattr(run_grid, "run_once", run_once)
    arguments = ["4.2", "--seeds", "0", "--cells", "OFB", "--work-dir", str(tmp_path)]
    assert run_grid.main([*arguments, "--iterations", "25"]) == 0
    assert calls == [(None, 25)]
    assert run_grid.main(["N.1", *arguments[1:3], "--iterations", "25"]) == 1
    assert "Expected a budget by --epochs for table N.1" in capsys.readouterr().err
    assert run_grid.main([*arguments, "--iterations", "30"]) == 1
    assert "another --work-dir" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run_grid.main([*arguments, "--iterations", "25", "--epochs", "1"])


def test_tables():
    run = {"AP": 0.3, "AP50": 0.5, "AP75": 0.2, "oLRP": 0.7, "oLRP_Loc": 0.2, "oLRP_FP": 0.1,
           "oLRP_FN": 0.4, "correlation": None}  # fmt: skip
    one, other = {"boxes": run}, {"boxes": run | {"AP": 0.4, "correlation": 0.25}}
    text = run_grid.table(grids.GRIDS["8.1"], {"none x 1": [one], "none x value": [one, other]})
    lines = text.splitlines()
    assert lines[2:5] == [
        "| AP | 1 | value |",
        "| --- | --- | --- |",
        "| none | 30.0 | 35.0 ± 7.1 |",
    ]
    assert lines[-1] == "| none | - | - |"
    lines = run_grid.table(grids.GRIDS["4.2"], {"OFB": [one]}).splitlines()
    assert lines[-1] == "| OFB | 30.0 | 50.0 | 20.0 | 70.0 | 20.0 | 10.0 | 40.0 | - |"
    *_, line = run_grid.table(grids.GRIDS["4.2"], {"OFB": [other]}).splitlines()
    assert line == "| OFB | 40.0 | 50.0 | 20.0 | 70.0 | 20.0 | 10.0 | 40.0 | 0.25 |"


def test_curves_of_gradients(tmp_path):
    figures = dict.fromkeys(run_grid.FIGURES, 0.25) | {"correlation": 0.5}
    curves = {"bbox_head": [[20, 4.0], [40, 1.0]]}, {"bbox_head": [[20, 2.0], [40, 1.5]]}
    one, other = ({"boxes": figures, "gradient_balance": curve} for curve in curves)
    grid = grids.GRIDS["7.4"]
    *_, focal, alrp = run_grid.table(grid, {"focal": [one], "aLRP": [one, other]}).splitlines()
    assert focal.endswith("| 0.50 | 1.00 | 2.50 | 4.00 |")
    assert alrp.endswith("| 1.25 ± 0.35 | 2.12 ± 0.53 | 3.00 ± 1.41 |")
    (axes,) = run_grid.draw_balance(grid, {"focal": [one], "aLRP": [one, other]}).axes
    assert [line.get_ydata().tolist() for line in axes.lines[:3]] == [[4, 1], [4, 1], [2, 1.5]]
    assert [text.get_text() for text in axes.get_legend().texts] == ["focal", "aLRP"]
    with pytest.raises(UserError, match="leave --plot out"):
        run_grid.draw_balance(grid, {"focal": [{"boxes": figures}]})


def test_list_and_mistakes(capsys):
    assert run_grid.main(["--list"]) == 0
    assert "4.3: samplers of positives / negatives" in capsys.readouterr().out
    assert run_grid.main(["P.1", "--cells", "0.3"]) == 1
    assert "Expected cells of table P.1" in capsys.readouterr().err
    assert run_grid.main(["P.1", "--config", "nowhere.py"]) == 1
    assert "nowhere.py does not exist" in capsys.readouterr().err
    config = ROOT / "configs" / "digits" / "rs-paa_r18_fpn_digits.py"
    assert run_grid.main(["4.2", "--data", "nowhere"]) == 1
    assert "nowhere/manifest.json does not exist" in capsys.readouterr().err
    assert run_grid.main(["8.4", "--config", str(config)]) == 1
    assert "Expected no --config with table 8.4" in capsys.readouterr().err


def test_a_run_of_other_options_is_not_taken_for_this_one(tmp_path):
    config = tmp_path / "c.py"
    config.write_text("a = 1")
    runs.keep_config(tmp_path / "run", config, ["model.x=1"])
    runs.keep_config(tmp_path / "run", config, ["model.x=1"])
    for other in (["model.x=2"], []):
        with pytest.raises(UserError, match="and its data as they were"):
            runs.keep_config(tmp_path / "run", config, other)
    runs.keep_config(tmp_path / "plain", config)
    with pytest.raises(UserError, match="and its data as they were"):
        runs.keep_config(tmp_path / "plain", config, ["model.x=2"])
    # One of an earlier version, which noted no options.
    note = json.loads((tmp_path / "plain" / "config.json").read_text())
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "config.json").write_text(json.dumps({"sha256": note["sha256"]}))
    runs.keep_config(tmp_path / "old", config, ["model.x=2"])
    config.write_text("a = 2")
    with pytest.raises(UserError, match="and its data as they were"):
        runs.keep_config(tmp_path / "old", config, ["model.x=2"])


def test_a_run_on_other_data_is_not_taken_for_this_one(tmp_path):
    config = tmp_path / "c.py"
    config.write_text(
        f"""
train_dataloader = dict(dataset=dict(type='RepeatDataset', times=2, dataset=dict(
    data_root='{tmp_path}/here/', ann_file='train.json')))
val_dataloader = dict(dataset=dict(data_root='{tmp_path}/here/', ann_file='val.json'))
test_dataloader = None
"""
    )
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        for split in ("train", "val"):
            (tmp_path / place / f"{split}.json").write_text(f"{place}, {split}")
    there = [f"val_dataloader.dataset.data_root={tmp_path}/there/"]
    cfg = Config.fromfile(config)
    here, moved = runs.data_digests(cfg), runs.data_digests(cfg, there)
    assert set(here) == set(moved) == {"train", "val"}
    assert here["train"] == moved["train"]
    assert len({*here.values(), *moved.values()}) == 3
    run = tmp_path / "run"
    runs.keep_config(run, config)
    # Where the data is not at hand, what it was stays noted.
    (tmp_path / "here" / "train.json").rename(tmp_path / "away")
    runs.keep_config(run, config)
    (tmp_path / "here" / "train.json").write_text("made anew")
    with pytest.raises(UserError, match="and its data as they were"):
        runs.keep_config(run, config)
    (tmp_path / "away").rename(tmp_path / "here" / "train.json")
    runs.keep_config(run, config)
