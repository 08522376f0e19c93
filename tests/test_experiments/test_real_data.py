"""A run on real data converts what it needs, and its budget is that of the config or the flag."""

import argparse
import json
from pathlib import Path

import labelled_data
import pytest
import real_data
from mmengine.config import Config

ROOT = Path(__file__).resolve().parents[2]


def test_data_is_converted_once(tmp_path):
    images = labelled_data.write_masks(tmp_path / "data")
    real_data.convert_once(images, tmp_path / "out")
    folder = tmp_path / "out" / "annotations"
    assert {p.name for p in folder.iterdir()} == {
        "conversion.json",
        "test.json",
        "train.json",
        "val.json",
    }
    (folder / "train.json").write_text("kept")
    real_data.convert_once(images, tmp_path / "out")
    assert (folder / "train.json").read_text() == "kept"


def test_the_budget_can_be_cut(tmp_path):
    args = argparse.Namespace(
        config=ROOT / "configs/lite/rs-atss_lite0_fpn_bccd.py",
        out=tmp_path / "out",
        seed=4,
        data_root=str(tmp_path),
        images="pictures",
        max_iters=16,
        amp=False,
    )
    cfg = real_data.prepare(args)
    assert (cfg.train_cfg.max_iters, cfg.train_cfg.val_interval) == (16, 4)
    warmup, cosine = cfg.param_scheduler
    assert (warmup.end, cosine.begin, cosine.end, cosine.T_max) == (8, 8, 16, 8)
    assert cfg.default_hooks.logger.interval == 16
    assert cfg.randomness.seed == 4
    for split in ("val", "test"):
        assert cfg[f"{split}_evaluator"].ann_file == f"{tmp_path}/annotations/{split}.json"
        assert cfg[f"{split}_evaluator"].outfile_prefix == str(tmp_path / "out" / split)
        assert cfg[f"{split}_dataloader"].dataset.data_prefix.img == str(
            Path("pictures").absolute()
        )


def test_mistakes_are_told_before_anything_begins(tmp_path, capsys):
    config = ROOT / "configs/lite/rs-atss_lite0_fpn_bccd.py"
    out = ["--out", str(tmp_path / "out")]

    def refused(*arguments):
        assert real_data.main(list(map(str, arguments))) == 1
        return capsys.readouterr().err

    assert "missing.py does not exist" in refused(tmp_path / "missing.py", *out)
    data = ["--data-root", tmp_path / "data"]
    assert "data/annotations/train.json does not exist" in refused(config, *out, *data)
    assert not (tmp_path / "out").exists()
    assert "--max-iters of 2 or more, but got 1" in refused(config, *out, "--max-iters", 1)
    data += ["--images", labelled_data.write_coco(tmp_path / "coco") / "annotations"]
    (tmp_path / "data" / "annotations").mkdir(parents=True)
    for split in ("train", "val", "test", "conversion"):
        (tmp_path / "data" / "annotations" / f"{split}.json").write_text(split)
    (tmp_path / "out").mkdir()
    result = tmp_path / "out" / "result.json"
    result.write_text("{}")
    assert real_data.main(list(map(str, (config, *out, *data)))) == 0
    assert f"Found {result}" in capsys.readouterr().out
    other = config.with_name("atss_lite0_fpn_bccd.py")
    for changed in ((config, "--seed", 1), (config, "--amp"), (config, "--max-iters", 7), (other,)):
        assert "give another --out, or delete that one" in refused(*changed, *out, *data)
    # Other data in the same place, and another config of the same name.
    mine = tmp_path / config.name
    mine.write_text(f"_base_ = '{config}'\nlog_level = 'ERROR'\n")
    assert "but they have changed since" in refused(mine, *out, *data)
    (tmp_path / "data" / "annotations" / "val.json").write_text("other")
    assert "give another --out, or delete that one" in refused(config, *out, *data)


def test_a_curve_is_that_of_one_training(tmp_path, monkeypatch):
    images = labelled_data.write_masks(tmp_path / "data")
    log = tmp_path / "out/20260101_000000/vis_data/scalars.json"
    log.parent.mkdir(parents=True)
    log.write_text('{"step": 375, "coco/bbox_mAP": 0.5}\n')

    class Stop(Exception):
        pass

    def begin(cfg):
        assert not log.exists()
        raise Stop

    monkeypatch.setattr(real_data.ResumableRunner, "from_cfg", begin)
    arguments = ["--data-root", str(tmp_path / "conv"), "--images", str(images), "--max-iters", "4"]
    config = ROOT / "configs/lite/mask-rcnn_lite0_fpn_tiles.py"
    with pytest.raises(Stop):
        real_data.main([str(config), "--out", str(tmp_path / "out"), *arguments])


def test_figures_of_a_class_are_of_its_own_objects():
    truth = labelled_data.coco_data(["a", "c"])
    truth["annotations"] = [a | {"id": a["id"] + 1} for a in truth["annotations"]]
    bars = [a for a in truth["annotations"] if a["category_id"] == 5]
    found = [
        {key: a[key] for key in ("image_id", "category_id", "bbox")} | {"score": 0.9 - 0.1 * i}
        for i, a in enumerate(bars)
    ]
    ring, bar = truth["categories"]
    figures = real_data.class_figures(truth, found, "bbox", bar)
    assert (figures["AP"], figures["oLRP"], figures["num_gt"]) == (1.0, 0.0, 3)
    assert real_data.class_figures(truth, found, "bbox", ring) == {
        "AP": 0.0,
        "AP50": 0.0,
        "oLRP": 1.0,
        "num_gt": 1,
    }
    json.dumps(figures)


def test_the_curve_is_of_the_validations_and_names_boxes_and_masks(tmp_path):
    log = tmp_path / "20260101_000000" / "vis_data"
    log.mkdir(parents=True)
    figures = {
        f"coco/{kind}_{key}": value
        for kind, least in (("bbox", 0.25), ("segm", 0.125))
        for key, value in (("mAP", least), ("mAP_50", 2 * least), ("oLRP", 1 - least))
    }
    lines = [
        {"loss": 1.5, "time": 0.5, "step": 4},
        {**figures, "step": 5},
        {"loss": 1.0, "step": 8},
    ]
    (log / "scalars.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert real_data.learning_curve(tmp_path) == [
        {
            "iteration": 5,
            **{"boxes AP": 0.25, "boxes AP50": 0.5, "boxes oLRP": 0.75},
            **{"masks AP": 0.125, "masks AP50": 0.25, "masks oLRP": 0.875},
        }
    ]


def test_the_figures_of_a_split_are_of_its_own_detections(tmp_path):
    """Of two classes one is found in validation, and the other in the test; masks are half."""
    box = [10.0, 20.0, 40.0, 30.0]
    half = [10.0, 20.0, 40.0, 15.0]

    def corners(x, y, w, h):
        return [[x, y, x + w, y, x + w, y + h, x, y + h]]

    cfg, classes = {}, ["ring", "bar"]
    for place, split in enumerate(("val", "test")):
        truth = {
            "images": [{"id": 1, "width": 100, "height": 80, "file_name": "a.jpg"}],
            "categories": [{"id": 3 + i, "name": name} for i, name in enumerate(classes)],
            "annotations": [
                {"id": 1 + i, "image_id": 1, "category_id": 3 + i, "bbox": box, "area": 1200.0,
                 "iscrowd": 0, "segmentation": corners(*box)}
                for i in range(2)
            ],
        }  # fmt: skip
        (tmp_path / f"{split}.truth.json").write_text(json.dumps(truth))
        found = {"image_id": 1, "category_id": 3 + place, "score": 0.75}
        for kind, where in (("bbox", {"bbox": box}), ("segm", {"segmentation": corners(*half)})):
            (tmp_path / f"{split}.{kind}.json").write_text(json.dumps([found | where]))
        evaluator = {"ann_file": str(tmp_path / f"{split}.truth.json"), "metric": ["bbox", "segm"]}
        cfg[f"{split}_evaluator"] = evaluator
    cfg["val_evaluator"]["metric"] = "bbox"
    val, test = (real_data.split_figures(Config(cfg), tmp_path, s) for s in ("val", "test"))
    assert set(val) == {"boxes"}
    assert set(test) == {"boxes", "masks"}
    assert [val["boxes"]["per_class"][name]["AP"] for name in classes] == [1, 0]
    assert [test["boxes"]["per_class"][name]["AP"] for name in classes] == [0, 1]
    assert (test["boxes"]["AP"], test["boxes"]["AP50"], test["boxes"]["AP75"]) == (0.5, 0.5, 0.5)
    # A mask of half of the object has an IoU of 0.5, which counts at 0.5 alone.
    assert test["masks"]["AP50"] == 0.5
    assert test["masks"]["AP75"] == 0
    assert test["masks"]["per_class"]["bar"]["AP50"] == 1
    assert test["masks"]["per_class"]["ring"]["oLRP"] == 1
