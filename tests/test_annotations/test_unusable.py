"""Pictures and boxes that cannot be used, or only badly: left out, or told."""

import json

import cv2
import labelled_data
import numpy as np
import pytest

from mmdet_rank.annotations import conversion
from mmdet_rank.annotations.conversion import read_data
from mmdet_rank.cli.main import main

FORMS = {
    "Pascal VOC": labelled_data.write_voc,
    "YOLO": labelled_data.write_yolo,
    "COCO": labelled_data.write_coco,
    "LabelMe": labelled_data.write_labelme,
}


@pytest.mark.parametrize("form", FORMS)
def test_a_picture_whose_objects_are_all_left_out_is_left_out_too(tmp_path, form):
    root = FORMS[form](tmp_path / "data")
    before = read_data(root)
    if form == "COCO":
        file = root / "annotations/instances_train2017.json"
        content = json.loads(file.read_text())
        for entry in content["annotations"]:
            if entry["image_id"] == 8:
                entry["bbox"][2] = 0
        file.write_text(json.dumps(content))
    elif form == "YOLO":
        (root / "labels/train/b.txt").write_text("0 100 120 300 380\n")
    elif form == "Pascal VOC":
        flat = [("ring", 10, 12, 10, 50)]
        (root / "Annotations/b.xml").write_text(labelled_data.voc_xml("b", flat))
    else:
        point = labelled_data.labelme_data("b", shape_type="point")
        (root / "train/b.json").write_text(json.dumps(point))
    found = read_data(root)
    assert found.left_out[conversion.UNUSABLE] == 1
    left = [p.file.stem for p in found.splits["train"]]
    assert left == [p.file.stem for p in before.splits["train"] if p.file.stem != "b"]


def test_corners_in_a_folder_of_coco_are_told(tmp_path, capsys):
    root = labelled_data.write_coco(tmp_path / "data")
    for file in root.glob("annotations/*.json"):
        content = json.loads(file.read_text())
        for entry in content["annotations"]:
            x, y, width, height = entry["bbox"]
            entry["bbox"] = [x, y, x + width, y + height]
        file.write_text(json.dumps(content))
    assert main(["convert-data", str(root), "--out", str(tmp_path / "out")]) == 0
    told = "instances_train2017.json: The 5 boxes look like corners [x1, y1, x2, y2]"
    assert told in capsys.readouterr().out


def test_dark_pictures_of_16_bits_are_told(tmp_path):
    root = labelled_data.write_coco(tmp_path / "data")
    content = json.loads((root / "annotations/instances_train2017.json").read_text())
    for image, most in zip(content["images"], (4095, 65535, 900), strict=False):
        image["file_name"] = image["file_name"].replace(".jpg", ".png")
        pixels = np.full((image["height"], image["width"]), most, np.uint16)
        cv2.imwrite(str(root / "train2017" / image["file_name"]), pixels)
    (root / "annotations/instances_train2017.json").write_text(json.dumps(content))
    found = read_data(root)
    (told,) = [note for note in found.notes if "16 bits" in note]
    assert told.startswith("2 of 3 pictures of 16 bits that were looked at")
    assert len(found.splits["train"]) == 4


def test_a_training_set_that_is_all_left_out_is_not_taken_for_part_of_validation(tmp_path):
    root = labelled_data.write_yolo(tmp_path / "data")
    for file in root.glob("labels/train/*.txt"):
        file.write_text("0 100 120 300 380\n")
    (root / "images/train/e.jpg").unlink()
    found = read_data(root)
    assert [p.file.stem for p in found.splits["val"]] == ["d"]
    assert found.splits["train"] == []
    assert not [note for note in found.notes if "has all pictures of train" in note]
