"""What the reader of annotation files reads, leaves out and refuses."""

import json
import math
import os

import pytest
from coco_files import damaged, sound_file

from mmdet_rank.annotations import (
    check_coco,
    forget_files,
    read_categories,
    read_coco,
    write_coco,
)

BOTH = pytest.mark.parametrize("use", ["training", "evaluation"])
NAN = math.nan


@BOTH
def test_a_sound_file_has_no_problem(use):
    data = sound_file()
    before = json.dumps(data)
    found = check_coco(data, "f.json", use=use, iou_types=("bbox", "segm"))
    assert found.problems == []
    assert found.message() == ""
    assert found.num_objects == 4
    for kind in ("images", "categories"):
        assert found.dataset[kind] == data[kind]
    expected = [{**a, "id": i} for i, a in enumerate(data["annotations"], start=1)]
    assert found.dataset["annotations"] == expected
    assert json.dumps(data) == before


# kind, entry, changes, words of the message. All are refused in training and in evaluation alike.
REFUSED = [
    ("annotations", 2, {"bbox": None}, "bbox in annotation 2 of f.json, but got None"),
    ("annotations", 2, {"bbox": ["3", "2", "10", "10"]}, "bbox in annotation 2"),
    ("annotations", 2, {"bbox": [1, 2, 3]}, "bbox in annotation 2"),
    ("annotations", 2, {"bbox": [1, 2, 3, True]}, "bbox in annotation 2"),
    ("annotations", 2, {"bbox": {"x": 1}}, "bbox in annotation 2"),
    ("annotations", 2, {"bbox": ...}, "entry 2 lacks bbox"),
    ("annotations", 3, {"area": "100"}, "area in annotation 3"),
    ("annotations", 3, {"area": None}, "area in annotation 3"),
    ("annotations", 1, {"iscrowd": "no"}, "iscrowd in annotation 1"),
    ("annotations", 1, {"iscrowd": 2}, "iscrowd in annotation 1"),
    ("annotations", 1, {"iscrowd": [0]}, "iscrowd in annotation 1"),
    ("annotations", 0, {"image_id": "1"}, "image_id"),
    ("annotations", 3, {"image_id": "5"}, "image_ids of one type, but got 1 in annotation 0"),
    ("annotations", 3, {"image_id": None}, "image_id in annotation 3"),
    ("annotations", 3, {"image_id": 1.5}, "image_id in annotation 3"),
    ("annotations", 3, {"image_id": [5]}, "image_id in annotation 3"),
    ("annotations", 3, {"image_id": True}, "image_id in annotation 3"),
    ("annotations", 3, {"image_id": 2**70}, "image_id a number of at most 63 bits in annotation 3"),
    ("annotations", 3, {"image_id": ...}, "entry 3 lacks image_id"),
    ("annotations", 0, {"category_id": {}}, "category_id in annotation 0"),
    ("annotations", 0, {"segmentation": [2, 2, 12, 2, 12, 12]}, "segmentation in annotation 0"),
    ("annotations", 0, {"segmentation": [["2"] * 6]}, "segmentation in annotation 0"),
    ("annotations", 0, {"segmentation": "abc"}, "segmentation in annotation 0"),
    ("annotations", 0, {"segmentation": {"size": [30, 40]}}, "segmentation in annotation 0"),
    (
        *("annotations", 0),
        {"segmentation": {"size": [30, 40], "counts": "~~~~~~"}},
        "add up to 30 x 40 as segmentation in annotation 0 of f.json, but got '~~~~~~'",
    ),
    (
        *("annotations", 0),
        {"segmentation": {"size": [30, 40], "counts": [0, 1199]}},
        "add up to 30 x 40 as segmentation in annotation 0 of f.json, but got a list of 2 values",
    ),
    (
        *("annotations", 0),
        {"segmentation": {"size": [40, 30], "counts": [0, 1200]}},
        "[height, width] [30, 40], the size of its image, as segmentation in annotation 0",
    ),
    ("annotations", 0, {"segmentation": {"size": "30x40", "counts": [0]}}, "size of the segm"),
    ("images", 1, {"width": "50"}, "width in image 1 of f.json, but got '50'"),
    ("images", 1, {"height": 0}, "height in image 1"),
    ("images", 1, {"height": -60}, "height in image 1"),
    ("images", 1, {"height": 60.5}, "height in image 1"),
    ("images", 1, {"height": NAN}, "height in image 1"),
    ("images", 1, {"height": math.inf}, "height in image 1"),
    ("images", 1, {"height": 10**400}, "height in image 1"),
    ("images", 1, {"file_name": 7}, "file_name in image 1"),
    ("images", 1, {"id": 1}, "distinct image ids in f.json, but 1 occurs twice, in image 0 and"),
    ("images", 1, {"id": "b"}, "one type, but got 1 in image 0 of f.json and 'b' in image 1"),
    ("images", 1, {"id": ...}, "entry 1 lacks id"),
    ("categories", 1, {"id": 2.0}, "distinct category ids"),
    (
        *("categories", 1),
        {"name": "cat"},
        "categories 0 (id 2) and 1 (id 7) are both called 'cat'",
    ),
    ("categories", 1, {"name": None}, "name in category 1"),
    ("categories", 1, {"name": " "}, "name in category 1"),
    ("categories", 1, {"name": ["dog"]}, "name in category 1"),
    ("categories", 1, {"name": ...}, "entry 1 lacks name"),
]


@BOTH
@pytest.mark.parametrize(("kind", "index", "changes", "words"), REFUSED)
def test_wrong_types_are_refused_with_entry_and_field(kind, index, changes, words, use):
    data = damaged(kind, index, **changes)
    with pytest.raises(ValueError, match="Expected") as error:
        check_coco(data, "f.json", use=use, iou_types=("bbox", "segm"))
    assert words in str(error.value)
    assert "f.json" in str(error.value)
    assert ", but" in str(error.value)


# changes of an object, and the reason for which it is left out in training.
LEFT_OUT = [
    ({"area": 0}, "area of 0 or less"),
    ({"area": -3}, "area of 0 or less"),
    ({"area": NAN}, "area of 0 or less"),
    ({"bbox": [0.1, 0.2, 0.5, 0.6]}, "box under one pixel"),
    ({"bbox": [3, 3, 10, 0]}, "box under one pixel"),
    ({"bbox": [50, 3, 10, 10]}, "box outside of the width and height stated for its image"),
    ({"bbox": [3, -20, 10, 10]}, "box outside of the width and height stated for its image"),
    ({"bbox": [30, 20, -10, -10]}, "box of negative size"),
    ({"bbox": [NAN, 3, 10, 10]}, "box that is not finite"),
    ({"bbox": [3, 3, math.inf, 10]}, "box that is not finite"),
    ({"bbox": [3, 3, 10**400, 10]}, "box that is not finite"),
    ({"image_id": 99}, "image_id that no image has"),
    ({"category_id": 99}, "category_id that no category has"),
    ({"ignore": 1}, "marked 'ignore'"),
]


@pytest.mark.parametrize(("changes", "reason"), LEFT_OUT)
def test_objects_left_out_in_training_are_counted_by_reason(changes, reason):
    found = check_coco(damaged("annotations", 1, **changes), "f.json")
    assert found.left_out == {reason: 1}
    boxes = [a["bbox"] for a in found.dataset["annotations"]]
    assert boxes == [a["bbox"] for i, a in enumerate(sound_file()["annotations"]) if i != 1]
    assert found.message().startswith("f.json: 1 of 4 objects are left out: 1 ")
    assert reason in found.message()
    assert "annotation 1" in found.message()


@pytest.mark.parametrize(("changes", "reason"), LEFT_OUT)
def test_when_all_objects_are_left_out_the_file_is_refused(changes, reason):
    data = sound_file()
    for entry in data["annotations"]:
        entry.update(changes)
    with pytest.raises(ValueError, match="all are left out") as error:
        check_coco(data, "f.json")
    assert f"4 {'have ' if 'marked' not in reason else ''}{reason}" in str(error.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"area": math.inf}, "area from 0 to 1e+10 in annotation 1"),
        ({"area": 1e12}, "area from 0"),
        ({"area": -1}, "area from 0"),
        ({"area": NAN}, "area from 0"),
        ({"bbox": [NAN, 3, 10, 10]}, "of finite numbers as bbox in annotation 1"),
        ({"bbox": [30, 20, -10, -10]}, "of no negative size as bbox in annotation 1"),
        ({"image_id": 99}, "image_id one of the images of f.json in annotation 1"),
        ({"category_id": 99}, "category_id one of the categories"),
        ({"segmentation": None}, "segmentation in annotation 1"),
        ({"segmentation": [[1, 2, 3, 4]]}, "segmentation in annotation 1"),
    ],
)
def test_evaluation_refuses_what_would_move_its_figures(changes, words):
    data = damaged("annotations", 1, **changes)
    with pytest.raises(ValueError, match="Expected") as error:
        check_coco(data, "f.json", use="evaluation", iou_types=("bbox", "segm"))
    assert words in str(error.value)


@pytest.mark.parametrize("mask", [None, [], "", ..., [[1, 1, 2, 2]], [[]]])
def test_an_object_without_a_mask_becomes_a_crowd_in_training(mask):
    data = damaged("annotations", 1, segmentation=mask)
    found = check_coco(data, "f.json", iou_types=("bbox", "segm"))
    assert found.left_out == {"segmentation that is not a mask": 1}
    assert [a["iscrowd"] for a in found.dataset["annotations"]] == [0, 1, 0, 0]
    assert found.dataset["annotations"][1]["segmentation"] == [[0.0] * 6]
    # A detector of boxes does not look at masks.
    assert check_coco(data, "f.json").problems == []


@pytest.mark.parametrize("value", ["0", None])
def test_evaluation_refuses_marks_that_are_no_numbers(value):
    with pytest.raises(ValueError, match="Expected 0 or 1 as iscrowd in annotation 2"):
        check_coco(damaged("annotations", 2, iscrowd=value), "f.json", use="evaluation")


@BOTH
def test_what_can_be_read_in_one_way_only_is_mended(use):
    data = sound_file()
    marks = ("0", None) if use == "training" else (False, 0.0)
    data["images"][0] |= {"id": 1.0, "width": 40.0}
    data["categories"][0] |= {"id": 2.0, "name": 3}
    for entry in data["annotations"]:
        entry |= {"id": "x", "image_id": float(entry["image_id"]), "iscrowd": marks[0], "ignore": 0}
    whole, flat = data["annotations"][3]["segmentation"][0], [1, 1, 2, 2]
    data["annotations"][3]["segmentation"] = [flat, whole]
    data["annotations"][2]["iscrowd"] = marks[1]
    found = check_coco(data, "f.json", use=use, iou_types=("bbox", "segm"))
    assert found.left_out == {}
    assert found.dataset["images"] == sound_file()["images"]
    assert found.dataset["categories"] == [{"id": 2, "name": "3"}, {"id": 7, "name": "dog"}]
    expected = sound_file()["annotations"]
    got = found.dataset["annotations"]
    assert [a["id"] for a in got] == [1, 2, 3, 4]
    for key in ("image_id", "iscrowd", "bbox", "segmentation"):
        assert [a[key] for a in got] == [a[key] for a in expected]
    assert all(type(a["image_id"]) is int and type(a["iscrowd"]) is int for a in got)
    assert type(found.dataset["images"][0]["width"]) is int
    assert sorted(found.mended.values()) == ([1, 1, 4] if use == "training" else [1, 1])
    assert ("iscrowd" in found.message()) == (use == "training")


def test_ids_that_are_texts_throughout():
    data = sound_file()
    for image in data["images"]:
        image["id"] = f"i{image['id']}"
    for entry in data["annotations"]:
        entry["image_id"] = f"i{entry['image_id']}"
    assert check_coco(data, "f.json").problems == []


def test_missing_values_that_follow_from_others():
    data = sound_file()
    for entry in data["annotations"]:
        del entry["id"], entry["iscrowd"]
    assert len(check_coco(data, "f.json").dataset["annotations"]) == 4
    for entry in data["annotations"]:
        del entry["area"]
    with pytest.raises(ValueError, match="entry 0 lacks area; area is width x height"):
        check_coco(data, "f.json")
    found = check_coco(data, "f.json", use="evaluation")
    assert [a["area"] for a in found.dataset["annotations"]] == [100, 210, 400, 72]


def test_areas_that_are_not_given_are_of_the_masks():
    data = sound_file()
    for entry in data["annotations"]:
        x, y, width, height = entry["bbox"]
        entry["segmentation"] = [[x, y, x + width, y, x + width, y + height]]  # half of the box
        del entry["area"]
    found = check_coco(data, "f.json", use="evaluation", iou_types=("segm",))
    areas = [entry["area"] for entry in found.dataset["annotations"]]
    assert areas == pytest.approx([50, 105, 200, 36], rel=0.2)


def test_boxes_that_look_like_corners():
    data = sound_file()
    corners = [[30, 20, 38, 29], [20, 5, 31, 25], [35, 45, 50, 60], [3, 40, 18, 49]]
    for entry, box in zip(data["annotations"], corners, strict=True):
        entry["bbox"] = box
    assert "look like corners" in check_coco(data, "f.json").message()
    assert "look like corners" in check_coco(data, "f.json", use="evaluation").message()


def test_boxes_that_look_like_fractions():
    data = sound_file()
    for entry in data["annotations"]:
        entry["bbox"] = [0.25, 0.25, 0.5, 0.5]
    assert "look like fractions" in check_coco(data, "f.json", use="evaluation").message()
    with pytest.raises(ValueError, match=r"under one pixel.* look like fractions"):
        check_coco(data, "f.json")


@pytest.mark.parametrize("data", [None, [], "x", 3, {}, {"images": [], "annotations": []}])
def test_other_than_coco(data):
    with pytest.raises(ValueError, match=r"Expected COCO annotations with .*f\.json"):
        check_coco(data, "f.json")


@pytest.mark.parametrize("kind", ["images", "annotations", "categories"])
def test_entries_that_are_no_objects(kind):
    data = sound_file()
    data[kind][1] = 3
    with pytest.raises(ValueError, match=r"Expected an object as \w+ 1 of f\.json, but got 3"):
        check_coco(data, "f.json")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_files_in_any_encoding(encoding, tmp_path):
    path = tmp_path / "a.json"
    data = damaged("categories", 0, name="猫")
    path.write_text(json.dumps(data, ensure_ascii=False), encoding=encoding)
    assert read_coco(path).dataset["categories"][0]["name"] == "猫"


@pytest.mark.parametrize("content", ["", "{", "[" * 100_000, "1" * 5000, "\x00"])
def test_files_that_are_no_json(content, tmp_path):
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"Expected JSON in .*a\.json, but it cannot be read"):
        read_coco(path)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_coco(tmp_path / "none.json")


def test_a_file_is_parsed_once_until_it_changes(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(sound_file()))
    loads = []
    original = json.loads
    monkeypatch.setattr(json, "loads", lambda text, **_: loads.append(1) or original(text))
    first = read_coco(path)
    assert read_coco(path) is first
    evaluation = read_coco(path, use="evaluation", iou_types=("segm",))
    assert evaluation is not first
    assert len(loads) == 1
    path.write_text(json.dumps(sound_file(annotations=sound_file()["annotations"][:1])))
    assert len(read_coco(path).dataset["annotations"]) == 1
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    read_coco(path)
    assert len(loads) == 3
    forget_files()
    read_coco(path)
    assert len(loads) == 4


def test_files_that_are_written_are_sound(tmp_path):
    data = sound_file()
    path = tmp_path / "new" / "a.json"
    few = [{k: a[k] for k in ("image_id", "category_id", "bbox")} for a in data["annotations"]]
    write_coco(path, data["images"], few, data["categories"], info={"by": "a test"})
    found = read_coco(path)
    assert found.problems == []
    assert [a["area"] for a in found.dataset["annotations"]] == [100, 210, 400, 72]
    assert found.dataset["info"] == {"by": "a test"}
    few[1]["bbox"] = [NAN, 0, 1, 1]
    with pytest.raises(ValueError, match="bbox in annotation 1"):
        write_coco(tmp_path / "b.json", data["images"], few, data["categories"])
    assert not (tmp_path / "b.json").exists()


def test_categories_alone(tmp_path):
    path = tmp_path / "file.json"
    path.write_text(json.dumps({"categories": [{"id": 2.0, "name": 7}], "annotations": None}))
    assert read_categories(path) == [{"id": 2, "name": "7"}]
    for content in ([], {"images": []}, None):
        path.write_text(json.dumps(content))
        forget_files()
        with pytest.raises(
            ValueError, match=r"with the list 'categories' in .*file\.json, but got"
        ):
            read_categories(path)
    path.write_text(json.dumps({"categories": [{"id": 2}]}))
    forget_files()
    with pytest.raises(ValueError, match="name"):
        read_categories(path)
