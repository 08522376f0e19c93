"""Folders of COCO: which pictures the files name, and what a file may lack."""

import json

import labelled_data
import pytest

from mmdet_rank.annotations.conversion import convert_data, read_data


def rewrite(root, change, encoding="utf-8"):
    for file in root.rglob("*.json"):
        data = json.loads(file.read_text())
        change(data)
        file.write_text(json.dumps(data), encoding=encoding)


@pytest.mark.parametrize("area", [None, 0, float("inf"), float("nan"), -3.0])
def test_an_area_that_cannot_be_is_that_of_the_box(tmp_path, area):
    root = labelled_data.write_coco(tmp_path / "data")
    expected = convert_data(root, tmp_path / "expected").files["val"].read_text()

    def change(data):
        for annotation in data["annotations"]:
            annotation["area"] = area
            if area is None:
                del annotation["area"]

    rewrite(root, change)
    assert convert_data(root, tmp_path / "out").files["val"].read_text() == expected


def test_pictures_without_a_size_of_which_one_is_missing(tmp_path):
    root = labelled_data.write_coco(tmp_path / "data")
    rewrite(root, lambda data: [image.pop("width") for image in data["images"]])
    (root / "train2017/a.jpg").unlink()
    data = read_data(root)
    assert [p.file.stem for p in data.splits["train"]] == ["b", "c", "e"]
    assert data.left_out == {
        "pictures that are not there": 1,
        "objects of a picture that is not there": 2,
    }


def test_a_missing_picture_is_not_another_of_its_name(tmp_path):
    """a.jpg of cam2 is missing, and there is an a.jpg in images/."""
    labelled_data.write_pictures(tmp_path / "images", ["a", "b"])
    labelled_data.write_pictures(tmp_path / "images" / "cam2", ["c"])
    data = labelled_data.coco_data(["a", "a", "c", "b"])
    for image, name in zip(
        data["images"],
        ("a.jpg", "cam2/a.jpg", "D:/set/cam2/c.jpg", "D:\\set\\b.jpg"),
        strict=True,
    ):
        image["file_name"] = name
    data["images"][1]["id"] = 99
    (tmp_path / "all.json").write_text(json.dumps(data))
    found = read_data(tmp_path / "all.json")
    files = [p.file.relative_to(tmp_path).as_posix() for p in found.splits["train"]]
    assert files == ["images/a.jpg", "images/cam2/c.jpg", "images/b.jpg"]
    assert found.left_out["pictures that are not there"] == 1


def test_a_picture_of_two_entries_has_the_objects_of_both(tmp_path):
    root = labelled_data.write_coco(tmp_path / "data")

    def change(data):
        data["images"].append({**data["images"][0], "id": 500})
        data["annotations"][-1]["image_id"] = 500

    expected = read_data(root)
    rewrite(root, change)
    data = read_data(root)
    assert data.left_out["pictures annotated twice, whose objects were put together"] == 2
    train = {p.file.stem: [o.category for o in p.objects] for p in data.splits["train"]}
    before = {p.file.stem: [o.category for o in p.objects] for p in expected.splits["train"]}
    # The last object of train was of c.
    assert train == {**before, "a": [*before["a"], "bar"], "c": ["bar"]}


def test_a_file_in_utf_16(tmp_path):
    root = labelled_data.write_coco(tmp_path / "data")
    expected = read_data(root)
    rewrite(root, lambda data: None, encoding="utf-16")
    assert read_data(root) == expected
