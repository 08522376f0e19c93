"""experiments/compare_detectors.py: one run end to end, and the table of several."""

import argparse
import json
from pathlib import Path

import compare_detectors as compare
import pytest
import runs
from mmengine.config import Config, DictAction

from mmdet_rank.cli.errors import UserError
from mmdet_rank.datasets.digits.build import build_digits
from mmdet_rank.datasets.digits.options import DigitsOptions
from mmdet_rank.evaluation.report import F1_FIGURES

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
    arguments = ["tiny.py", "--seeds", "5", "--epochs", "1", "--out", "figures.json",
                 "--plot", "figures.png"]  # fmt: skip
    assert compare.main(arguments) == 0
    (figures,) = json.loads(Path("figures.json").read_text())["tiny"]
    assert set(figures) == {"boxes", "iteration", "seed", "epochs", "commit", "torch"}
    assert (figures["seed"], figures["epochs"]) == (5, 1)
    assert figures["commit"] == runs.commit_of(ROOT)
    boxes = figures["boxes"]
    assert set(boxes) == {*runs.FIGURES, *F1_FIGURES, "correlation", "by_iou"}
    assert 0 <= boxes["AP"] <= boxes["AP50"] <= 1
    assert 0 < boxes["oLRP"] <= 1
    assert figures["iteration"] > 0
    assert "s/iteration" in capsys.readouterr().out
    assert Path("figures.png").read_bytes().startswith(b"\x89PNG")
    checkpoint = next(Path("work_dirs/compare/tiny_seed5/training").glob("*.pth"))
    written = checkpoint.stat().st_mtime_ns
    assert compare.main(arguments) == 0
    assert "Found" in capsys.readouterr().out
    assert checkpoint.stat().st_mtime_ns == written

    Path("tiny.py").write_text(CONFIG + "model.update(test_cfg=dict(score_thr=0.1))\n")
    assert compare.main(arguments) == 1
    message = capsys.readouterr().err
    expected = "Expected tiny.py, its options and its data as they were when the run in work_dirs"
    assert expected in message


@pytest.mark.slow
def test_options_for_the_data_count_in_the_figures_too(tmp_path, monkeypatch):
    # Objects of the other data set, as if each had been found.
    monkeypatch.chdir(tmp_path)
    for name, seed in (("data/digits", 0), ("data/other", 1)):
        build_digits(Path(name), DigitsOptions(train=2, val=4, seed=seed))
    monkeypatch.setattr(runs, "run_quietly", pretend_to_run)
    file = "data/other/annotations/instances_val.json"
    options = [f"test_evaluator.ann_file={file}", "test_dataloader.dataset.data_root=data/other/"]
    Path("tiny.py").write_text(CONFIG)
    run = runs.run_once(Path("tiny.py"), 0, 1, Path("runs"), options)
    assert run["boxes"]["AP"] == pytest.approx(1)


def pretend_to_run(command, log):
    """Leave what the tools would: the config with its options, a log, and perfect detections."""
    config, folder = Path(command[4]), Path(command[command.index("--work-dir") + 1])
    folder.mkdir(parents=True)
    pairs = (text.split("=", 1) for text in command[command.index("--cfg-options") + 1 :])
    cfg = Config.fromfile(config)
    cfg.merge_from_dict({key: value for key, value in pairs if key.startswith("test_")})
    cfg.dump(folder / config.name)
    if command[3] == "train":
        (folder / "last_checkpoint").write_text("epoch_1.pth")
        (folder / "run" / "vis_data").mkdir(parents=True)
        (folder / "run" / "vis_data" / "scalars.json").write_text('{"time": 0.25, "step": 1}\n')
        return
    truth = json.loads(Path(cfg.test_evaluator.ann_file).read_text())
    keys = ("image_id", "category_id", "bbox")
    found = [{key: a[key] for key in keys} | {"score": 0.5} for a in truth["annotations"]]
    Path(f"{cfg.test_evaluator.outfile_prefix}.bbox.json").write_text(json.dumps(found))


def test_nothing_detected_is_the_worst_figure_and_no_error():
    truth = {"images": [{"id": 1}], "annotations": [], "categories": [{"id": 1, "name": "a"}]}
    figures = runs.measure_detections(truth, [], "bbox")
    assert set(figures) == {*runs.FIGURES, *F1_FIGURES, "correlation", "by_iou"}
    assert (figures["AP"], figures["oLRP"], figures["oLRP_FP"]) == (0, 1, None)
    assert figures["by_iou"][3] == {"tau": 0.8, "AP": 0, "oLRP": 1}
    assert "-" in compare.summary({"one": [{"boxes": figures, "iteration": 0.1}]})


def test_figures_at_each_iou():
    """Two classes; the second box of the first overlaps by 0.65, and that of the other by 0.85."""
    truth = {
        "images": [{"id": 1, "width": 400, "height": 400}],
        "annotations": [
            {"id": i, "image_id": 1, "category_id": c, "bbox": [x, 0, 100, 100], "area": 1e4}
            | {"iscrowd": 0}
            for i, c, x in ((1, 1, 0), (2, 1, 200), (3, 2, 0))
        ],
        "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}, {"id": 3, "name": "none"}],
    }
    found = [
        {"image_id": 1, "category_id": 1, "bbox": [0, 0, 100, 100], "score": 0.5},
        {"image_id": 1, "category_id": 1, "bbox": [200, 0, 100, 65], "score": 0.9},
        {"image_id": 1, "category_id": 2, "bbox": [0, 0, 100, 85], "score": 0.7},
    ]
    figures = runs.measure_detections(truth, found, "bbox")
    by_iou = {row["tau"]: row for row in figures["by_iou"]}
    assert list(by_iou) == [0.5, 0.6, 0.7, 0.8, 0.9]
    # From 0.7 on the first of two boxes is wrong: precision 1/2 up to recall 1/2, at 51 places.
    half = 0.5 * 51 / 101
    expected = [1, 1, (half + 1) / 2, (half + 1) / 2, half / 2]
    assert [row["AP"] for row in by_iou.values()] == pytest.approx(expected)
    assert by_iou[0.5]["AP"] == figures["AP50"]
    assert by_iou[0.5]["oLRP"] == figures["oLRP"]
    # Class a: one of two found, and a false one, 1 + 1 + 0 over 3; class b: not found, 1.
    assert by_iou[0.9]["oLRP"] == pytest.approx((2 / 3 + 1) / 2)


def test_configs_of_one_name_are_refused(tmp_path, capsys):
    paths = [tmp_path / folder / "same.py" for folder in "ab"]
    for path in paths:
        path.parent.mkdir()
        path.write_text("")
    assert compare.main(list(map(str, paths))) == 1
    assert "Expected configs of different names" in capsys.readouterr().err


def test_commit(tmp_path, monkeypatch):
    assert runs.commit_of(tmp_path) is None
    monkeypatch.setenv("PATH", "")
    assert runs.commit_of(ROOT) is None


def test_table_of_seeds():
    figures = dict.fromkeys(runs.FIGURES, 0.25) | {"correlation": 0.5}
    run = {"boxes": figures, "iteration": 0.125}
    other = {"boxes": figures | {"AP": 0.35, "correlation": None}, "iteration": 0.125}
    masks = {"masks": figures | {"AP": 0.75}, "iteration": 0.125}
    rows = {"one": [run], "two": [run, other], "three": [run | masks], "four": [masks]}
    *_, one, two, three_boxes, three_masks, four = compare.summary(rows).splitlines()
    assert "25.0" in one
    assert "±" not in one
    assert "30.0 ± 7.1" in two
    assert " - " in two
    assert three_boxes.split()[:3] == ["three", "boxes", "25.0"]
    assert three_masks.split()[:3] == ["three", "masks", "75.0"]
    assert four.split()[:3] == ["four", "masks", "75.0"]


def test_masks_are_measured_too(tmp_path):
    build_digits(tmp_path / "data", DigitsOptions(train=2, val=4))
    truth = json.loads((tmp_path / "data/annotations/instances_val.json").read_text())
    config = tmp_path / "config.py"
    config.write_text(
        "test_evaluator = dict(metric=['bbox', 'segm'],"
        f"ann_file={str(tmp_path / 'data/annotations/instances_val.json')!r})\n"
    )
    keys = ("image_id", "category_id", "bbox", "segmentation")
    masks = [{k: a[k] for k in keys} | {"score": 0.5} for a in truth["annotations"]]
    boxes = [m | {"bbox": [0, 0, 1, 1]} for m in masks]
    (tmp_path / "detections.bbox.json").write_text(json.dumps(boxes))
    (tmp_path / "detections.segm.json").write_text(json.dumps(masks))
    training = tmp_path / "training"
    (training / "run" / "vis_data").mkdir(parents=True)
    (training / "run" / "vis_data" / "scalars.json").write_text('{"time": 0.25, "step": 1}\n')
    figures = runs.measure(config, training, tmp_path / "detections")
    assert figures["boxes"]["AP"] == 0
    assert figures["masks"]["AP"] == pytest.approx(1)
    assert figures["iteration"] == 0.25


def test_missing_config(capsys):
    assert compare.main(["nowhere.py"]) == 1
    assert "nowhere.py does not exist" in capsys.readouterr().err


def test_budget_scales_the_schedule(tmp_path):
    config = tmp_path / "config.py"
    config.write_text(
        "train_cfg = dict(max_epochs=12)\n"
        "param_scheduler = [dict(by_epoch=False, end=500),"
        " dict(end=12, T_max=12), dict(milestones=[8, 11], end=12)]\n"
    )
    assert runs.budget(config, None) == []
    assert runs.budget(config, 6) == [
        "train_cfg.max_epochs=6",
        "train_cfg.val_interval=6",
        "param_scheduler.1.end=6",
        "param_scheduler.1.T_max=6",
        "param_scheduler.2.end=6",
        "param_scheduler.2.milestones=[4,6]",
    ]
    config.write_text("train_cfg = dict(type='IterBasedTrainLoop', max_iters=90)\n")
    with pytest.raises(UserError, match="give --iterations"):
        runs.budget(config, 6)
    with pytest.raises(UserError, match="at least 1, but got 0"):
        runs.budget(config, 0)


def budgeted(text, tmp_path, iterations):
    """Loop, checkpoints and schedulers of a config that its options change."""
    file = tmp_path / "config.py"
    file.write_text(text)
    parser = argparse.ArgumentParser()
    parser.add_argument("--options", nargs="+", action=DictAction)
    cfg = Config.fromfile(file)
    options = parser.parse_args(["--options", *runs.budget(file, None, iterations)]).options
    cfg.merge_from_dict(options)
    assert cfg.train_cfg == dict(
        type="IterBasedTrainLoop", max_iters=iterations, val_begin=iterations + 1
    )
    assert cfg.default_hooks.checkpoint == dict(by_epoch=False, interval=iterations)
    assert cfg.log_processor == dict(by_epoch=False)
    # There is an entry of the log, from which the seconds of an iteration come.
    assert cfg.default_hooks.logger.interval <= iterations
    return cfg.get("param_scheduler")


def test_budget_by_iterations(tmp_path):
    # Of a config by epochs a warm-up by iterations keeps its length.
    schedulers = budgeted(
        "train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=3, val_interval=1)\n"
        "param_scheduler = [dict(by_epoch=False, end=50),"
        " dict(end=3, T_max=3, by_epoch=True, convert_to_iter_based=True),"
        " dict(milestones=[1, 2], end=3)]\n",
        tmp_path,
        120,
    )
    by_iterations = dict(by_epoch=False, convert_to_iter_based=False)
    assert schedulers == [
        dict(by_epoch=False, end=50),
        dict(end=120, T_max=120, **by_iterations),
        dict(milestones=[40, 80], end=120, **by_iterations),
    ]
    logged = "train_cfg = dict(max_iters=9)\ndefault_hooks = dict(logger=dict(interval=50))"
    assert budgeted(logged, tmp_path, 7) is None
    # Of a config by iterations all of it is scaled.
    schedulers = budgeted(
        "train_cfg = dict(max_iters=600, val_interval=30)\n"
        "param_scheduler = [dict(by_epoch=False, end=50), dict(begin=50, end=600, by_epoch=False)]",
        tmp_path,
        120,
    )
    assert schedulers == [
        dict(by_epoch=False, end=10),
        dict(begin=10, end=120, by_epoch=False),
    ]
