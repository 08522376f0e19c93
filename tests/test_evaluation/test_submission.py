"""Zip files for the COCO test-dev server."""

import json
import zipfile

import pytest

from mmdet_rank.evaluation.submission import check_image_list, write_submission

IMAGES = {
    "images": [{"id": 7, "width": 20, "height": 10}, {"id": 8, "width": 20, "height": 10}],
    "categories": [{"id": 1, "name": "thing"}],
}
BOX = {"image_id": 7, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}
MASK = {**BOX, "segmentation": {"size": [10, 20], "counts": [0, 200]}}


def write(folder, name, content):
    path = folder / name
    path.write_text(json.dumps(content))
    return path


def read_zip(path):
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        (name,) = archive.namelist()
        return name, json.loads(archive.read(name))


def test_boxes(tmp_path):
    boxes = write(tmp_path, "boxes.json", [BOX])
    out = tmp_path / "out"
    (path,) = write_submission({"bbox": boxes}, IMAGES, out, "rs-atss", tested={7, 8})
    assert path.name == "detections_test-dev2017_rs-atss_results.zip"
    name, content = read_zip(path)
    assert name == "detections_test-dev2017_rs-atss_results.json"
    assert content == [BOX]
    assert [p.name for p in out.iterdir()] == [path.name]


def test_boxes_and_masks(tmp_path):
    files = {
        "bbox": write(tmp_path, "boxes.json", [BOX]),
        "segm": write(tmp_path, "masks.json", [MASK]),
    }
    paths = write_submission(files, IMAGES, tmp_path / "out", "a")
    assert [path.name for path in paths] == [
        "detections_test-dev2017_a-bbox_results.zip",
        "detections_test-dev2017_a-segm_results.zip",
    ]
    assert [read_zip(path)[1] for path in paths] == [[BOX], [MASK]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": 9}, "Expected as image_id"),
        ({"category_id": 0}, "Expected as category_id"),
        ({"score": float("nan")}, "finite score"),
        ({"bbox": [0, 0, -1, 4]}, "no negative size"),
        ({"segmentation": {"size": [20, 10], "counts": [0, 200]}}, "the size of its image"),
    ],
)
def test_checks_everything_before_it_writes(change, message, tmp_path):
    files = {
        "bbox": write(tmp_path, "boxes.json", [BOX]),
        "segm": write(tmp_path, "masks.json", [{**MASK, **change}]),
    }
    with pytest.raises(ValueError, match=message):
        write_submission(files, IMAGES, tmp_path / "out", "a")
    assert not (tmp_path / "out").exists()


def test_every_image_has_to_be_tested(tmp_path):
    boxes = write(tmp_path, "boxes.json", [BOX])
    with pytest.raises(ValueError, match=r"did not run on 1 of them \(\[8\]\)"):
        write_submission({"bbox": boxes}, IMAGES, tmp_path / "out", "a", tested={7})


def test_names(tmp_path):
    boxes = write(tmp_path, "boxes.json", [BOX])
    with pytest.raises(ValueError, match="Expected a name of letters"):
        write_submission({"bbox": boxes}, IMAGES, tmp_path, "my model")


def test_image_list(tmp_path):
    assert check_image_list(write(tmp_path, "list.json", IMAGES)) == IMAGES
    with pytest.raises(ValueError, match="image_info_test-dev2017"):
        check_image_list(write(tmp_path, "list.json", {"images": []}))
