"""Folders of COCO: which pictures the files name, what a file may lack, crowds, and masks."""

import json

import labelled_data
import numpy as np
import pytest
from pycocotools import mask as mask_utils

from mmdet_rank.annotations.coco import check_coco
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


def as_brush(annotation, image):
    """Give an object run lengths of its box as CVAT exports a mask, lists of numbers."""
    x, y, width, height = annotation["bbox"]
    mask = np.zeros((image["height"], image["width"]), np.uint8)
    mask[y : y + height, x : x + width] = 1
    flat = mask.ravel(order="F")
    ends = [0, *(np.flatnonzero(np.diff(flat)) + 1).tolist(), flat.size]
    counts = ([0] if flat[0] else []) + np.diff(ends).tolist()
    size = [image["height"], image["width"]]
    annotation |= {"iscrowd": 1, "segmentation": {"size": size, "counts": counts}}


def brushed(chosen, **more):
    """Turn those objects of a file that are chosen by their number into masks."""

    def change(data):
        images = {image["id"]: image for image in data["images"]}
        for number, annotation in enumerate(data["annotations"]):
            if chosen(number):
                as_brush(annotation, images[annotation["image_id"]])
            annotation |= more

    return change


def as_one_file(root):
    labelled_data.write_pictures(root / "images")
    file = root / "all.json"
    file.write_text(json.dumps(labelled_data.coco_data(list(labelled_data.SIZES))))
    return file


def test_masks_of_cvat_are_objects(tmp_path):
    """Beside boxes and polygons they are told from crowds by what CVAT writes of all objects."""
    root = labelled_data.write_coco(tmp_path / "data")
    expected = read_data(root)
    rewrite(root, brushed(lambda number: number % 2 == 0, attributes={"occluded": False}))
    outcome = convert_data(root, tmp_path / "out")
    for split in ("train", "val"):
        assert outcome.data.count(split) == expected.count(split)
    told = "masks have iscrowd 1, which CVAT writes for every mask: they are taken as objects; take"
    notes = sorted(note for note in outcome.data.notes if "iscrowd" in note)
    assert [note[: note.index(told)] for note in notes] == [
        "instances_train2017.json: 3 ",
        "instances_val2017.json: 1 ",
    ]
    assert "marked to be ignored" not in outcome.describe()
    train = check_coco(json.loads(outcome.files["train"].read_text()), iou_types=["bbox", "segm"])
    masks = [
        a["segmentation"] for a in train.dataset["annotations"] if "counts" in a["segmentation"]
    ]
    areas = [mask_utils.area(mask_utils.frPyObjects(mask, *mask["size"])) for mask in masks]
    # The rings of a and b, and the second bar of c; the others have no mask.
    assert areas == [16 * 24, 30 * 38, 45 * 11]


def test_where_all_objects_are_crowds_they_are_objects(tmp_path):
    file = as_one_file(tmp_path)
    rewrite(tmp_path, brushed(lambda number: True))
    outcome = convert_data(file, tmp_path / "out")
    counts = [outcome.data.count(split) for split in ("train", "val")]
    assert {name: sum(count[name] for count in counts) for name in ("bar", "ring")} == {
        "bar": 3,
        "ring": 3,
    }
    (note,) = [note for note in outcome.data.notes if "iscrowd" in note]
    assert note.startswith("All 6 objects have iscrowd 1, which CVAT writes for every mask: they")
    written = [json.loads(path.read_text())["annotations"] for path in outcome.files.values()]
    assert [a["iscrowd"] for annotations in written for a in annotations] == [0] * 6


def test_crowds_beside_objects_are_ignored_and_told_where_they_are_many(tmp_path):
    file = as_one_file(tmp_path)
    rewrite(tmp_path, brushed(lambda number: number % 2 == 0))
    outcome = convert_data(file, tmp_path / "out")
    assert sum(sum(outcome.data.count(split).values()) for split in outcome.files) == 3
    assert outcome.data.notes[0] == (
        "3 of 6 objects have iscrowd 1: they are neither trained nor counted. CVAT writes it for "
        "every mask drawn with the brush; if they are objects, set iscrowd to 0."
    )
    assert outcome.data.notes[0] in outcome.describe()


def test_the_few_crowds_of_coco_are_ignored_without_more_words(tmp_path):
    file = as_one_file(tmp_path)

    def change(data):
        data["annotations"] *= 2
        data["annotations"] = [dict(annotation) for annotation in data["annotations"]]
        brushed(lambda number: number == 5)(data)

    rewrite(tmp_path, change)
    data = read_data(file)
    assert data.count("train") == {"bar": 6, "ring": 5}
    assert data.notes == []


SOUND = [4, 6, 20, 6, 20, 30]
FAR = [4, 6, 2e6, 6, 20, 30]
NOT_FINITE = [4, 6, float("nan"), 6, 20, 30]


def with_mask(root, mask):
    """Give the first object of training, the ring of a, a mask."""
    file = root / "annotations/instances_train2017.json"
    data = json.loads(file.read_text())
    data["annotations"][0]["segmentation"] = mask
    file.write_text(json.dumps(data))


@pytest.mark.parametrize(
    "mask",
    [
        [NOT_FINITE],
        [[4, 6, float("inf"), 6, 20, 30]],
        [FAR],
        [[*SOUND[:-1], 30, 4]],
        [[1, 2], NOT_FINITE],
        {"size": [48, 64], "counts": [9, 48 * 64]},
        {"size": [48, 64], "counts": [float("nan"), 9]},
        {"size": [48, 64], "counts": "~~~"},
        {"size": [48, 64]},
    ],
)
def test_an_object_with_a_damaged_mask_is_left_out(tmp_path, mask):
    root = labelled_data.write_coco(tmp_path / "data")
    with_mask(root, mask)
    data = convert_data(root, tmp_path / "out").data
    assert data.left_out == {
        "objects whose mask is damaged (numbers not finite or missing, or that do not add up)": 1
    }
    assert data.count("train") == {"bar": 3, "ring": 1}


@pytest.mark.parametrize(
    "mask",
    [
        [[4, 6, 20, 30]],
        [[4, float("nan"), 20, 30]],
        [4, 6, 20, 6, 20, 30],
        [["4"] * 6],
        "4 6 20 30",
        {"size": [64, 48], "counts": [9, 48 * 64 - 9]},
        {"counts": "~~~"},
    ],
)
def test_what_is_no_mask_is_taken_off_and_the_box_counts(tmp_path, mask):
    root = labelled_data.write_coco(tmp_path / "data")
    expected = read_data(root)
    with_mask(root, mask)
    data = convert_data(root, tmp_path / "out").data
    assert data.left_out == {
        "masks without three points, or of another form or size (the boxes count)": 1
    }
    assert data.splits == expected.splits


@pytest.mark.parametrize("mask", [None, [], [[]], {}])
def test_an_object_without_a_mask_is_nothing_to_tell(tmp_path, mask):
    root = labelled_data.write_coco(tmp_path / "data")
    expected = read_data(root)
    with_mask(root, mask)
    assert read_data(root) == expected


def test_parts_of_a_mask_without_an_inside_are_taken_off(tmp_path):
    root = labelled_data.write_coco(tmp_path / "data")
    with_mask(root, [SOUND, [1, 2, 3, 4], NOT_FINITE])
    data = convert_data(root, tmp_path / "out").data
    assert data.left_out == {"parts of masks without an inside": 2}
    (first,) = [p.objects[0] for p in data.splits["train"] if p.file.stem == "a"]
    assert (first.box, first.segmentation) == ((4, 6, 16, 24), [SOUND])


def test_only_the_damaged_of_many_masks_is_left_out(tmp_path):
    file = as_one_file(tmp_path)

    def change(data):
        brushed(lambda number: True, iscrowd=0)(data)
        data["annotations"][3]["segmentation"]["counts"][0] += 1

    rewrite(tmp_path, change)
    data = read_data(file)
    assert data.count("train") == {"bar": 2, "ring": 3}
    assert sum(data.left_out.values()) == 1
    # The first bar of c is gone, and the other is there.
    (third,) = [p for p in data.splits["train"] if p.file.stem == "c"]
    assert [labelled.box for labelled in third.objects] == [(5, 30, 45, 11)]
    assert all(o.segmentation for p in data.splits["train"] for o in p.objects)
