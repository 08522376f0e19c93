"""experiments/compare_yolov8.py: one training on made pictures, and the table of several."""

import argparse
import json
import re
from pathlib import Path

import compare_yolov8
import labelled_data
import pytest
import runs
from mmengine.config import Config

from mmdet_rank.cli.main import run_command
from mmdet_rank.evaluation.report import F1_FIGURES

ROOT = Path(__file__).resolve().parents[2]


def write_data(root):
    """The made pictures with annotations as convert-data writes them; "c" is tested on."""
    labelled_data.write_pictures(root)
    (root / "annotations").mkdir()
    splits = {"train": ["a", "b"], "val": ["d"], "test": ["c"]}
    for split, names in splits.items():
        content = json.dumps(labelled_data.coco_data(names))
        (root / "annotations" / f"{split}.json").write_text(content)


def run_here(command, log):
    """Run `python -m mmdet_rank NAME ...` in this process, which has imported everything."""
    assert run_command(command[3], command[4:]) == 0


@pytest.mark.slow
def test_a_training_beside_one_that_is_there(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runs, "run_quietly", run_here)
    write_data(tmp_path / "data")
    work_dir, out = tmp_path / "work", tmp_path / "figures.json"
    options = ["train_dataloader.batch_size=2", "default_hooks.logger.interval=1"]
    # By its name MMEngine would find the visualizer of another test in this process.
    options += ["visualizer.name=compare_yolov8"]
    for loader in ("train", "val", "test"):
        options += [f"{loader}_dataloader.num_workers=0"]
        options += [f"{loader}_dataloader.persistent_workers=False"]
    # Of 64 x 64 pixels.
    pipeline = "train_dataloader.dataset.pipeline"
    options += [f"{pipeline}.0.img_scale=(64,64)", f"{pipeline}.1.border=(-32,-32)"]
    options += [f"{pipeline}.4.scale=(64,64)", f"{pipeline}.5.size=(64,64)"]
    for loader in ("val", "test"):
        pipeline = f"{loader}_dataloader.dataset.pipeline"
        options += [f"{pipeline}.1.scale=(64,64)", f"{pipeline}.2.size=(64,64)"]
    arguments = ["--data-root", str(tmp_path / "data"), "--sizes", "n", "--epochs", "2"]
    arguments += ["--work-dir", str(work_dir), "--out", str(out), "--cfg-options", *options]
    # The run without REG has been made before.
    args = compare_yolov8.make_parser().parse_args(arguments)
    stock = compare_yolov8.config_name("n", "")
    made = compare_yolov8.make_config(stock, args)
    config = compare_yolov8.write_config(made, stock, args)
    runs.keep_config(work_dir / f"{stock}_seed0", config, options)
    before = {"boxes": dict.fromkeys((*runs.FIGURES, *F1_FIGURES), 0.25)}
    (work_dir / f"{stock}_seed0" / "result.json").write_text(json.dumps(before))
    assert compare_yolov8.main(arguments) == 0
    first, second = capsys.readouterr().out.splitlines()[-2:]
    assert re.split("  +", first) == [
        "YOLOv8n", "binary cross entropy", *["25.0"] * 5, "71.1 / 47.8 / 80.1 / 63.5 / 70.8"
    ]  # fmt: skip
    assert re.split("  +", second)[:2] + second.split()[-1:] == ["YOLOv8n", "REG", "-"]
    figures = json.loads(out.read_text())
    (found,) = figures[compare_yolov8.config_name("n", "reg-")]
    assert figures[stock] == [before]
    assert 0 <= found["boxes"]["AP50"] <= 1
    folder = work_dir / f"{compare_yolov8.config_name('n', 'reg-')}_seed0" / "training"
    (log,) = (path.read_text() for path in folder.glob("*/*.log"))
    # Two iterations, with the class weights of the training set: 3 / (2 * 2) and 3 / (2 * 1).
    assert len(re.findall(r"Epoch\(train\) +\[[12]\]\[1/1\]", log)) == 2
    assert "{'ring': 2, 'bar': 1}, imbalance 2 : 1, weights 0.75, 1.5" in log


def test_a_config_for_other_data(tmp_path):
    write_data(tmp_path)
    args = argparse.Namespace(
        data_root=tmp_path, images=tmp_path / "pictures", work_dir=tmp_path / "work", epochs=20
    )
    name = compare_yolov8.config_name("s", "reg-")
    made = compare_yolov8.make_config(name, args)
    cfg = Config.fromfile(compare_yolov8.write_config(made, name, args))
    plain = Config.fromfile(ROOT / "configs" / "reg" / f"{name}.py")
    assert cfg.model.bbox_head.num_classes == 2
    for split in ("train", "val", "test"):
        dataset = cfg[f"{split}_dataloader"].dataset
        dataset = dataset.get("dataset") or dataset
        assert dataset.metainfo == dict(classes=("ring", "bar"))
        assert (dataset.data_root, dataset.data_prefix) == (
            f"{tmp_path}/",
            dict(img=str(tmp_path / "pictures")),
        )
    assert cfg.test_evaluator.ann_file == str(tmp_path / "annotations" / "test.json")
    # Of 20 epochs the last 2 are without mosaics, where 10 of 100 are.
    assert [hook.num_last_epochs for hook in cfg.custom_hooks if "num_last_epochs" in hook] == [2]
    assert cfg.model.backbone == plain.model.backbone
    assert cfg.default_hooks.class_counts == dict(type="ClassCountsHook")


def test_table():
    def run(value):
        return {"boxes": dict.fromkeys(compare_yolov8.FIGURES, value)}

    rows = {("l", ""): [run(0.5), run(0.52)], ("l", "reg-"): [run(0.25)]}
    header, _, stock, reg = compare_yolov8.table(rows, compare_yolov8.published()).splitlines()
    assert header.endswith("published AP50 / AP / precision / recall / F1")
    assert stock.split()[-1] == "-"
    assert stock.count("51.0 ± 1.4") == 5
    assert reg.endswith("80.3 / 59.1 / 82.6 / 77.2 / 79.8")


def test_published_figures_are_those_of_the_readme():
    readme = (ROOT / "configs" / "reg" / "README.md").read_text().splitlines()
    known = compare_yolov8.published()
    assert len(known) == 5
    for name, figures in known.items():
        (row,) = [line for line in readme if f"]({name}.py)" in line]
        shown = [float(number) for number in re.findall(r"\d+\.\d", row.split("|", 4)[4])]
        assert shown == [pytest.approx(figures[key], abs=0.051) for key in compare_yolov8.FIGURES]


def test_mistakes(tmp_path, capsys):
    work_dir = ["--work-dir", str(tmp_path / "work")]
    assert compare_yolov8.main([*work_dir, "--images", str(tmp_path)]) == 1
    assert "Expected --data-root with --images" in capsys.readouterr().err
    assert compare_yolov8.main([*work_dir, "--data-root", str(tmp_path / "none")]) == 1
    assert "write them with mmdet-rank convert-data" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
