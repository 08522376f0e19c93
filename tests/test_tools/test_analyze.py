"""The command: a page and its figures, from files, folders, and with a detector."""

import json
import re

import cv2
import labelled_data
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from pycocotools import mask as mask_utils

from configs import CONFIGS, build_model, load_config
from mmdet_rank.cli.analyze import find_picture
from mmdet_rank.cli.analyze_detector import training_samples
from mmdet_rank.cli.errors import UserError
from mmdet_rank.cli.main import main
from mmdet_rank.datasets.digits.metainfo import CLASSES
from mmdet_rank.imbalance import Objects

CONFIG = CONFIGS / "digits" / "retinanet_r18_fpn_digits.py"


@pytest.fixture
def data(tmp_path):
    """Six pictures of 96 pixels with two classes of ten, and their annotations."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "data"
    (folder / "train").mkdir(parents=True)
    images, annotations = [], []
    for i in range(6):
        picture = rng.integers(0, 255, (96, 96, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / "train" / f"{i}.png"), picture)
        images.append({"id": i + 1, "file_name": f"{i}.png", "width": 96, "height": 96})
        for label in (0, 0, 1)[: 1 + i % 3]:
            x, y = rng.integers(0, 50, 2).tolist()
            annotations.append(
                {"id": len(annotations) + 1, "image_id": i + 1, "category_id": label + 1}
                | {"bbox": [x, y, 30, 40], "area": 1200, "iscrowd": 0}
            )
    file = folder / "annotations" / "train.json"
    file.parent.mkdir()
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(CLASSES)]
    file.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    return file


def test_page_of_a_file(data, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["analyze", str(data), "--out", str(out), "--batch-size", "4"]) == 0
    report = json.loads((out / "imbalance.json").read_text())
    assert report["per_class"]["zero"]["objects"] == 10
    assert report["per_class"]["one"]["objects"] == 2
    assert report["classes"]["batch_size"] == 4
    page = (out / "imbalance.html").read_text()
    assert "6 images, 12 objects, 10 classes" in page
    assert len(re.findall("data:image/png;base64,", page)) == 10
    assert sorted(path.name for path in out.iterdir()) == ["imbalance.html", "imbalance.json"]


def test_with_a_detector(data, tmp_path):
    torch.manual_seed(0)
    checkpoint, out = tmp_path / "weights.pth", tmp_path / "out"
    torch.save({"state_dict": build_model(load_config(f"digits/{CONFIG.name}")).state_dict()},
               checkpoint)  # fmt: skip
    command = ["analyze", str(data), "--out", str(out), "--config", str(CONFIG)]
    assert main([*command, "--max-images", "4"]) == 0
    report = json.loads((out / "imbalance.json").read_text())
    assert report["priors"]["images"] == 4
    assert "training" not in report
    assert main([*command, "--checkpoint", str(checkpoint), "--max-images", "4"]) == 0
    report = json.loads((out / "imbalance.json").read_text())
    assert report["training"]["images"] == 2
    assert set(report["training"]["losses"]) == {"loss_cls", "loss_bbox"}
    page = (out / "imbalance.html").read_text()
    assert "not measured</b>" not in page
    assert len(re.findall("data:image/png;base64,", page)) == 15


@pytest.fixture
def labels_seen(monkeypatch):
    """Labels of the images that training steps are taken on, in the place of such steps."""
    seen = []

    def note(model, samples, progress):
        for sample in samples:
            seen.append(sample["data_samples"].gt_instances.labels.tolist())
        return {}

    monkeypatch.setattr("mmdet_rank.imbalance.training.measure_training", note)
    monkeypatch.setattr("mmdet_rank.cli.analyze.imbalance_page", lambda *_: Unwritten())
    return seen


class Unwritten:
    def write(self, path):
        """Leave the page out."""


@pytest.mark.parametrize(
    ("saved", "zero", "one"),
    [
        ({}, 0, 1),
        ({"dataset_meta": {"CLASSES": CLASSES[::-1]}}, 9, 8),
        ({"CLASSES": CLASSES[::-1]}, 9, 8),
    ],
)
@pytest.mark.parametrize("form", ["file", "turned file", "folder"])
def test_labels_are_those_of_the_detector(saved, zero, one, form, data, tmp_path, labels_seen):
    """Whatever the order of the data: that of its file, or of a folder, by name."""
    if form == "turned file":
        content = json.loads(data.read_text())
        content["categories"].reverse()
        data.write_text(json.dumps(content))
    checkpoint = tmp_path / "weights.pth"
    state = build_model(load_config(f"digits/{CONFIG.name}")).state_dict()
    torch.save({"state_dict": state, "meta": saved}, checkpoint)
    source = data.parents[1] if form == "folder" else data
    options = ["--config", str(CONFIG), "--checkpoint", str(checkpoint), "--max-images", "6"]
    assert main(["analyze", str(source), "--out", str(tmp_path), *options]) == 0
    assert json.loads((tmp_path / "imbalance.json").read_text())["per_class"]["zero"]["objects"]
    assert len(labels_seen) >= 2
    assert max(labels_seen, key=len) == [zero, zero, one]
    assert all(labels[:2] in ([zero], [zero, zero]) for labels in labels_seen)


def test_a_checkpoint_of_other_classes(data, tmp_path, capsys):
    state = build_model(load_config(f"digits/{CONFIG.name}")).state_dict()
    meta = {"dataset_meta": {"classes": ("cat", *CLASSES[1:])}}
    torch.save({"state_dict": state, "meta": meta}, tmp_path / "weights.pth")
    options = ["--config", str(CONFIG), "--checkpoint", str(tmp_path / "weights.pth")]
    assert main(["analyze", str(data), "--out", str(tmp_path / "out"), *options]) == 1
    message = capsys.readouterr().err
    assert "cat, one" in message
    assert "but the data has zero, one" in message


@pytest.mark.parametrize("inner", ["", "training"])
def test_paces_are_read_from_the_log_beside_the_checkpoint(data, tmp_path, inner):
    folder, out = tmp_path / "run", tmp_path / "out"
    log = folder / inner / "20261127_000000" / "vis_data" / "scalars.json"
    log.parent.mkdir(parents=True)
    log.write_text(
        '{"step": 50, "loss": 3.0, "loss_cls": 2.0, "loss_bbox": 1.0}\n'
        '{"step": 100, "loss": 1.1, "loss_cls": 0.5, "loss_bbox": 0.6}\n'
        '{"step": 2, "coco/bbox_mAP": 0.5}\n'
    )
    torch.save({"state_dict": build_model(load_config(f"digits/{CONFIG.name}")).state_dict()},
               folder / "best.pth")  # fmt: skip
    options = ["--config", str(CONFIG), "--checkpoint", str(folder / "best.pth")]
    assert main(["analyze", str(data), "--out", str(out), *options, "--max-images", "2"]) == 0
    assert json.loads((out / "imbalance.json").read_text())["paces"] == {
        "iterations": [50, 100],
        "relative": {"classification": [1.0, 0.25], "boxes": [1.0, 0.6]},
        "left": {"classification": 0.25, "boxes": 0.6},
    }
    page = (out / "imbalance.html").read_text()
    assert "came to 25% (classification), 60% (boxes) of what they were at first." in page
    assert len(re.findall("data:image/png;base64,", page)) == 16


def test_masks_go_into_training_steps(data, tmp_path, capsys):
    config = CONFIGS / "digits" / "mask-rcnn_r18_fpn_digits.py"
    state = build_model(load_config(f"digits/{config.name}")).state_dict()
    torch.save({"state_dict": state}, tmp_path / "weights.pth")
    options = ["--config", str(config), "--checkpoint", str(tmp_path / "weights.pth")]
    command = ["analyze", str(data), "--out", str(tmp_path), *options, "--max-images", "2"]
    assert main(command) == 1
    assert "Expected objects with masks for a detector of masks, but" in capsys.readouterr().err
    content = json.loads(data.read_text())
    for entry in content["annotations"]:
        x, y, width, height = entry["bbox"]
        entry["segmentation"] = [[x, y, x + width, y, x + width, y + height]]
    data.write_text(json.dumps(content))
    assert main(command) == 0
    training = json.loads((tmp_path / "imbalance.json").read_text())["training"]
    assert training["losses"]["loss_mask"] > 0
    assert training["task_shares"]["masks"] > 0


def test_masks_are_polygons_or_run_lengths(data):
    """An object without one is ignored where the others have theirs."""
    mask = np.zeros((96, 96), dtype=np.uint8, order="F")
    mask[:8, :5] = 1
    coded = mask_utils.encode(mask)
    coded["counts"] = coded["counts"].decode()
    masks = ([[10.0, 10, 20, 10, 20, 20, 10, 20]], coded, None)
    boxes = np.array([[10.0, 10, 10, 10], [0, 0, 5, 8], [40, 40, 9, 9]])
    objects = Objects(("a",), np.array([[96.0, 96]]), *np.zeros((2, 3), int), boxes, masks)
    steps = [
        dict(type="LoadImageFromFile"),
        dict(type="LoadAnnotations", with_bbox=True, with_mask=True, poly2mask=True),
        dict(type="PackDetInputs"),
    ]
    config = Config(dict(train_dataloader=dict(dataset=dict(pipeline=steps))))
    with DefaultScope.overwrite_default_scope("mmdet"):
        (sample,) = training_samples(config, objects, [data.parents[1] / "train" / "0.png"], [0])
    sample = sample["data_samples"]
    assert sample.gt_instances.masks.areas.tolist() == [100, 40]
    assert sample.ignored_instances.bboxes.tensor.tolist() == [[40, 40, 49, 49]]


def test_a_damaged_log_takes_nothing_else_away(data, tmp_path, labels_seen, capsys):
    log = tmp_path / "20261127_000000" / "vis_data" / "scalars.json"
    log.parent.mkdir(parents=True)
    log.write_text('{"step": 50, "lo\n{"step": 100, "loss": 1.1, "loss_cls": 0.5}\n')
    state = build_model(load_config(f"digits/{CONFIG.name}")).state_dict()
    torch.save({"state_dict": state}, tmp_path / "best.pth")
    options = ["--config", str(CONFIG), "--checkpoint", str(tmp_path / "best.pth")]
    out = tmp_path / "out"
    assert main(["analyze", str(data), "--out", str(out), *options, "--max-images", "2"]) == 0
    assert "note: the paces of the training are left out: Expected JSON" in capsys.readouterr().err
    report = json.loads((out / "imbalance.json").read_text())
    assert report["paces"] == {}
    assert report["num_objects"] == 12


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--checkpoint", "x.pth"], "Expected --config with --checkpoint"),
        (["--max-images", "0"], "of at least 1, but got 0"),
        (["--oversample-thr", "-1"], "as --oversample-thr, but got -1.0; leave it out"),
        (["--oversample-thr", "nan"], "as --oversample-thr, but got nan; leave it out"),
        (["--config", "no.py"], "Expected a config file, but no.py does not exist"),
    ],
)
def test_mistakes(data, tmp_path, capsys, options, message):
    assert main(["analyze", str(data), "--out", str(tmp_path / "out"), *options]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out" / "imbalance.json").exists()


def test_a_file_in_the_place_of_the_folder_is_told_first(tmp_path, capsys):
    out = tmp_path / "out"
    out.write_text("mine")
    assert main(["analyze", str(tmp_path / "no data"), "--out", str(out)]) == 1
    assert f"Expected a folder as --out, but {out} is a file" in capsys.readouterr().err
    assert out.read_text() == "mine"


def test_a_checkpoint_of_another_detector(data, tmp_path, capsys):
    other = build_model(load_config("digits/rs-atss_r18_fpn_digits.py"))
    torch.save({"state_dict": other.state_dict()}, tmp_path / "weights.pth")
    options = ["--config", str(CONFIG), "--checkpoint", str(tmp_path / "weights.pth")]
    assert main(["analyze", str(data), "--out", str(tmp_path / "out"), *options]) == 1
    message = capsys.readouterr().err
    assert "weights.pth" in message
    assert "bbox_head" in message
    assert not (tmp_path / "out" / "imbalance.json").exists()


@pytest.mark.parametrize("split", ["val", "test"])
@pytest.mark.parametrize("form", ["LabelMe", "VOC", "YOLO"])
def test_a_folder_with_nothing_to_train_on(form, split, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(labelled_data, "SPLITS", {split: list(labelled_data.SIZES)})
    root, out = tmp_path / "data", tmp_path / "out"
    {
        "LabelMe": labelled_data.write_labelme,
        "VOC": labelled_data.write_voc,
        "YOLO": labelled_data.write_yolo,
    }[form](root)
    if form == "YOLO":
        text = f"path: .\n{split}: images/{split}\nnc: 2\nnames: [ring, bar]\n"
        (root / "data.yaml").write_text(text)
    assert main(["analyze", str(root), "--out", str(out)]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"error: Expected pictures for training in {root}, but got 5 for {split} alone; label some "
        "for training, or check its splits: what is trained on is measured."
    )
    assert not out.exists()


def test_missing_data_and_pictures(data, tmp_path, capsys):
    assert main(["analyze", str(tmp_path / "no.json"), "--out", str(tmp_path)]) == 1
    assert "no.json" in capsys.readouterr().err
    checkpoint = tmp_path / "weights.pth"
    torch.save({"state_dict": build_model(load_config(f"digits/{CONFIG.name}")).state_dict()},
               checkpoint)  # fmt: skip
    (data.parents[1] / "train" / "0.png").unlink()
    options = ["--config", str(CONFIG), "--checkpoint", str(checkpoint)]
    assert main(["analyze", str(data), "--out", str(tmp_path), *options]) == 1
    assert "Expected the picture 0.png" in capsys.readouterr().err


def test_of_several_pictures_of_one_name_the_right_one_is_found_or_none(tmp_path):
    for split in ("test", "train", "val"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "1.jpg").touch()
    (tmp_path / "annotations").mkdir()
    data = tmp_path / "annotations" / "instances_train.json"
    assert find_picture(data, "1.jpg") == tmp_path / "train" / "1.jpg"
    with pytest.raises(UserError, match=r"Expected one picture 1.jpg beside"):
        find_picture(tmp_path / "annotations" / "all.json", "1.jpg")
    assert find_picture(data, "1.jpg", tmp_path / "val") == tmp_path / "val" / "1.jpg"
    # A folder that is named is meant.
    (tmp_path / "val" / "1.jpg").unlink()
    with pytest.raises(UserError, match=r"picture 1.jpg in .*val, but there is none"):
        find_picture(data, "1.jpg", tmp_path / "val")
    # Names may begin with the folder that is given; of several, the longest name fits best.
    assert find_picture(data, "val/2.jpg", touched(tmp_path / "val" / "2.jpg").parent).is_file()
    touched(tmp_path / "train2017" / "1.jpg")
    data = tmp_path / "annotations" / "instances_train2017.json"
    assert find_picture(data, "1.jpg") == tmp_path / "train2017" / "1.jpg"


def touched(file):
    file.parent.mkdir(exist_ok=True)
    file.touch()
    return file
