"""`mmdet-rank train DATA` with other detectors and weights, then `predict` and `test`."""

import json
import re
import shlex

import commands
import cv2
import labelled_data
import pytest
import torch
from mmdet.datasets import CocoDataset
from pycocotools import mask as mask_utils

from mmdet_rank.cli.main import main
from mmdet_rank.cli.own_data import start
from mmdet_rank.cli.own_data.config import make_model, read_config
from mmdet_rank.cli.own_data.detectors import DETECTORS

_KINDS = ("weight", "bias")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def polygons(tmp_path_factory):
    """Pictures with masks, in YOLO's form."""
    return labelled_data.write_yolo(tmp_path_factory.mktemp("polygons") / "data", polygons=True)


def train(data, work, *options):
    """Train for two steps; return the LRP report."""
    arguments = ["train", data, "--work-dir", work, "--max-iters", 2, *options]
    assert main([str(argument) for argument in arguments]) == 0
    return json.loads((work / "lrp.json").read_text())


def use(work, data, out):
    """Predict and test by what a training left; return the detections and the figures."""
    pictures = data / "images" / "val"
    arguments = ["predict", work, pictures, "--out", out, "--score-thr", "0"]
    assert main([str(argument) for argument in arguments]) == 0
    figures = commands.figures(
        [str(work / "config.py"), str(work / "best.pth"), "--work-dir", str(out / "test")]
    )
    return json.loads((out / "detections.json").read_text()), figures


def test_masks(polygons, tmp_path):
    work = tmp_path / "work"
    report = train(polygons, work, "--detector", "rs-mask-rcnn")
    detections, figures = use(work, polygons, tmp_path / "out")
    assert figures["coco/segm_oLRP"] == pytest.approx(report["oLRP"], abs=1e-6)
    assert figures["coco/segm_mAP"] == round(report["AP"], 3)
    assert figures["coco/bbox_oLRP"] != figures["coco/segm_oLRP"]
    page = (work / "report.html").read_text()
    assert "on the validation pictures, in percent (masks)" in page
    assert "Green: right, with the IoU of its mask, within its box" in page
    # The validation picture is "d"; its masks are those of the whole picture.
    height, width = cv2.imread(str(polygons / "images/val/d.jpg")).shape[:2]
    assert detections
    for found in detections:
        assert found["segmentation"]["size"] == [height, width]
        x, y, w, h = mask_utils.toBbox(found["segmentation"])
        assert x + w <= width
        assert y + h <= height


def test_a_folder_of_pictures_with_masks(tmp_path, capsys):
    data, work = labelled_data.write_masks(tmp_path / "data"), tmp_path / "work"
    report = train(data, work, "--detector", "rs-mask-rcnn")
    said = capsys.readouterr().out
    assert f"Read {data} as masks." in said
    assert set(report["per_class"]) == set(labelled_data.CLASSES)
    # The command that it names is for the pictures, and not for the masks that lie beside them.
    (command,) = re.findall("Detect on pictures: mmdet-rank (.*)", said)
    assert main([*shlex.split(command), "--score-thr", "0"]) == 0
    detections = json.loads((work / "predictions" / "detections.json").read_text())
    assert {found["file_name"].rpartition(".")[2] for found in detections} == {"jpg"}
    assert all(found["segmentation"]["counts"] for found in detections)


def test_yolov8(polygons, tmp_path, capsys):
    work = tmp_path / "work"
    report = train(polygons, work, "--detector", "rs-yolov8n")
    detections, figures = use(work, polygons, tmp_path / "out")
    assert figures["coco/bbox_oLRP"] == pytest.approx(report["oLRP"], abs=1e-6)
    assert {found["category"] for found in detections} <= {"bar", "ring"}
    weights = torch.load(work / "best.pth", weights_only=True)["state_dict"]
    classifiers = [w for name, w in weights.items() if w.shape[:1] == (2,)]
    assert len(classifiers) == 6  # weight and bias at three levels
    # Going on from what came out takes everything, for the classes are the same.
    capsys.readouterr()
    options = ["--detector", "rs-yolov8n", "--base", work / "best.pth"]
    train(polygons, tmp_path / "again", *options)
    said = capsys.readouterr().out
    assert f"From {work / 'best.pth'}: {len(weights)} weights are taken.\n" in said
    assert "at random" not in said


def test_a_stock_checkpoint_of_mmdetection(polygons, tmp_path, capsys):
    work = tmp_path / "work"
    stock = make_model(read_config(f"mmdet::{DETECTORS['rs-atss'].stock}"), 80, "file.pth")
    torch.manual_seed(0)
    saved = start.build(stock).state_dict()
    meta = {"dataset_meta": CocoDataset.METAINFO, "epoch": 12}
    torch.save({"meta": meta, "state_dict": saved}, tmp_path / "stock.pth")
    report = train(polygons, work, "--base", tmp_path / "stock.pth")
    said = capsys.readouterr().out
    # Boxes too, for RS-ATSS has three anchors where ATSS has one.
    new = [f"bbox_head.atss_{part}.{kind}" for part in ("cls", "reg") for kind in _KINDS]
    unused = [*new, *(f"bbox_head.atss_centerness.{kind}" for kind in _KINDS)]
    taken = len(saved) - len(unused)
    assert f"From {tmp_path / 'stock.pth'}: {taken} weights are taken." in said
    assert f"New, at random: {', '.join(new)}." in said
    assert f"Not taken from it: {', '.join(unused)}." in said
    names = json.loads((work / "annotations" / "start.json").read_text())
    assert len(names["taken"]) == taken
    assert (names["new"], names["not taken"]) == (new, unused)
    best = torch.load(work / "best.pth", weights_only=True)
    # What is frozen stayed as it was in the checkpoint, and what is not was trained from there.
    frozen = "backbone.layer1.0.conv1.weight"
    trained = "backbone.layer4.0.conv1.weight"
    assert torch.equal(best["state_dict"][frozen], saved[frozen])
    step = (best["state_dict"][trained] - saved[trained]).norm() / saved[trained].norm()
    assert 0 < step < 0.01
    assert best["meta"]["dataset_meta"]["classes"] == ["bar", "ring"]
    _, figures = use(work, polygons, tmp_path / "out")
    assert figures["coco/bbox_oLRP"] == pytest.approx(report["oLRP"], abs=1e-6)
