"""LabelMe's shapes: which become boxes, which masks, and which are counted and left out."""

import base64
import json

import cv2
import labelled_data
import numpy as np
import pytest
from pycocotools import mask as mask_utils

from mmdet_rank.annotations.conversion import convert_data, read_data

SQUARE = [[10, 12], [40, 12], [40, 32], [10, 32]]


def shape(kind, points, label="ring", **more):
    return {"label": label, "shape_type": kind, "points": points, **more}


def mask_shape(pixels, left, top, **more):
    """A mask as LabelMe writes it: a PNG of its box, whose last pixel is its second corner."""
    png = cv2.imencode(".png", pixels)[1].tobytes()
    corners = [[left, top], [left + pixels.shape[1] - 1, top + pixels.shape[0] - 1]]
    return shape("mask", corners, mask=base64.b64encode(png).decode(), **more)


def read(root, *shapes, name="a", **more):
    """Read a folder of one picture of 64 x 48 pixels."""
    labelled_data.write_pictures(root, [name])
    data = {"shapes": list(shapes), "imagePath": f"{name}.jpg", **more}
    (root / f"{name}.json").write_text(json.dumps(data))
    return read_data(root)


def only(data):
    (picture,) = data.splits["train"]
    (found,) = picture.objects
    return found


def test_a_polygon_gives_box_mask_and_area(tmp_path):
    data = read(tmp_path, shape("polygon", [[10, 12], [40, 12], [10, 32]]))
    found = only(data)
    assert data.form == "LabelMe"
    assert (found.category, found.box, found.area) == ("ring", (10, 12, 30, 20), 300)
    assert found.segmentation == [[10, 12, 40, 12, 10, 32]]


def test_a_shape_without_a_type_is_a_polygon(tmp_path):
    """As old versions wrote it."""
    found = only(read(tmp_path, {"label": " ring ", "points": SQUARE}))
    assert (found.category, found.box) == ("ring", (10, 12, 30, 20))


@pytest.mark.parametrize("points", [[[40, 32], [10, 12]], SQUARE], ids=["two", "four"])
def test_a_rectangle_gives_a_box_alone(tmp_path, points):
    found = only(read(tmp_path, shape("rectangle", points)))
    assert (found.box, found.segmentation, found.area) == ((10, 12, 30, 20), None, None)


def test_a_circle_gives_box_and_polygon(tmp_path):
    found = only(read(tmp_path, shape("circle", [[30, 20], [30, 30]])))
    assert found.box == pytest.approx((20, 10, 20, 20))
    assert found.area == pytest.approx(np.pi * 100, rel=0.01)
    (outline,) = found.segmentation
    away = np.hypot(np.subtract(outline[::2], 30), np.subtract(outline[1::2], 20))
    assert away == pytest.approx(np.full(32, 10.0))


def test_a_mask_is_put_in_its_place(tmp_path):
    pixels = np.zeros((6, 9), np.uint8)
    pixels[1:, 2:] = 1
    pixels[0, 0] = 1
    found = only(read(tmp_path, mask_shape(pixels, 20, 30)))
    assert (found.box, found.area) == ((20, 30, 9, 6), 36)
    expected = np.zeros((48, 64), np.uint8)
    expected[30:36, 20:29] = pixels
    assert (mask_utils.decode(found.segmentation) == expected).all()


@pytest.mark.parametrize(("left", "top"), [(-4, -3), (60, 45)])
def test_a_mask_is_cut_at_the_edges(tmp_path, left, top):
    found = only(read(tmp_path, mask_shape(np.ones((8, 10), np.uint8), left, top)))
    expected = np.zeros((48, 64), np.uint8)
    expected[max(top, 0) : top + 8, max(left, 0) : left + 10] = 1
    assert (mask_utils.decode(found.segmentation) == expected).all()
    assert found.area == expected.sum()


def test_shapes_of_one_group_are_one_object(tmp_path):
    parts = [[[2, 4], [12, 4], [12, 10], [2, 10]], [[30, 20], [40, 20], [40, 28], [30, 28]]]
    shapes = [shape("polygon", part, group_id=3) for part in parts]
    data = read(tmp_path, *shapes, shape("polygon", SQUARE, "bar", group_id=3))
    ring, bar = data.splits["train"][0].objects
    assert (ring.category, ring.box, ring.area) == ("ring", (2, 4, 38, 24), 140)
    assert ring.segmentation == [[value for point in part for value in point] for part in parts]
    assert (bar.category, bar.box) == ("bar", (10, 12, 30, 20))


def test_a_mask_and_a_rectangle_of_one_group_are_joined(tmp_path):
    mask = mask_shape(np.ones((5, 5), np.uint8), 2, 2, group_id=1)
    data = read(tmp_path, mask, shape("rectangle", [[20, 20], [30, 30]], group_id=1))
    found = only(data)
    expected = np.zeros((48, 64), np.uint8)
    expected[2:7, 2:7] = 1
    expected[20:30, 20:30] = 1
    assert (mask_utils.decode(found.segmentation) == expected).all()
    assert (found.box, found.area) == ((2, 2, 28, 28), 125)


def test_difficult_objects_are_ignored(tmp_path):
    data = read(tmp_path, shape("rectangle", SQUARE, difficult=True), shape("polygon", SQUARE))
    assert [found.ignored for found in data.splits["train"][0].objects] == [True, False]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (shape("point", [[3, 4]]), "points and lines, which are no objects"),
        (shape("linestrip", SQUARE), "points and lines, which are no objects"),
        (shape("polygon", SQUARE[:2]), "objects without a name or a box"),
        (shape("rectangle", SQUARE[:1]), "objects without a name or a box"),
        (shape("rectangle", [[1, float("nan")], [4, 5]]), "objects without a name or a box"),
        (shape("polygon", [[1, 2], [3, "4"], [5, 6]]), "objects without a name or a box"),
        (shape("polygon", None), "objects without a name or a box"),
        (shape("polygon", SQUARE, label=" "), "objects without a name or a box"),
        (shape("polygon", SQUARE, label=7), "objects without a name or a box"),
        ("ring", "objects without a name or a box"),
        (shape("mask", SQUARE[:2]), "masks that cannot be read"),
        (shape("mask", SQUARE[:2], mask="no PNG"), "masks that cannot be read"),
        (mask_shape(np.zeros((5, 5), np.uint8), 2, 2), "masks that cannot be read"),
        (mask_shape(np.ones((5, 5), np.uint8), 90, 2), "masks that cannot be read"),
        (shape("polygon", [[70, 12], [90, 12], [90, 32]]), "objects outside of their picture"),
        (shape("circle", [[30, 20], [30, 20]]), "objects without width or height"),
    ],
)
def test_what_is_no_object_is_counted(tmp_path, bad, reason):
    data = read(tmp_path, bad, shape("polygon", SQUARE))
    assert only(data).box == (10, 12, 30, 20)
    assert dict(data.left_out) == {reason: 1}


def test_polygons_are_cut_at_the_edges(tmp_path):
    """Rasterising an outline far beyond a picture would take memory by its length."""
    found = only(read(tmp_path, shape("polygon", [[10, 12], [1e9, 12], [1e9, 32], [10, 32]])))
    assert found.box == (10, 12, 54, 20)
    assert found.segmentation == [[10, 12, 64, 12, 64, 32, 10, 32]]
    assert found.area == 1080


def test_pictures_are_found_by_the_annotation_or_by_the_name_in_it(tmp_path):
    labelled_data.write_pictures(tmp_path / "images", ["a", "b"])
    (tmp_path / "labels").mkdir()
    renamed = labelled_data.labelme_data("a") | {"imagePath": "C:\\pictures\\old.jpg"}
    stated = labelled_data.labelme_data("b") | {"imagePath": "C:\\pictures\\b.jpg"}
    lost = labelled_data.labelme_data("c")
    for name, data in {"a": renamed, "other": stated, "c": lost}.items():
        (tmp_path / "labels" / f"{name}.json").write_text(json.dumps(data))
    (tmp_path / "notes.json").write_text('{"by": "hand"}')
    (tmp_path / "broken.json").write_text("{")
    data = read_data(tmp_path)
    pictures = {picture.file.stem: len(picture.objects) for picture in data.splits["train"]}
    assert pictures == {"a": 2, "b": 1}
    assert data.left_out["annotation files without a picture"] == 1
    assert data.left_out["JSON files without shapes"] == 2


def test_no_picture_at_all_is_refused(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(labelled_data.labelme_data("a")))
    (tmp_path / "b.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match="none of the JSON files has its picture; give the folder"):
        read_data(tmp_path)


def test_one_file_is_told_from_a_data_set(tmp_path):
    root = labelled_data.write_labelme(tmp_path)
    with pytest.raises(ValueError, match=r"a.json is LabelMe's of one picture; give the folder"):
        read_data(root / "train" / "a.json")


def test_what_is_converted_keeps_masks(tmp_path):
    root = tmp_path / "data"
    for name in labelled_data.SIZES:
        labelled_data.write_pictures(root, [name])
        shapes = [mask_shape(np.ones((9, 7), np.uint8), 5, 6), shape("polygon", SQUARE, "bar")]
        (root / f"{name}.json").write_text(json.dumps({"shapes": shapes}))
    conversion = convert_data(root, tmp_path / "out")
    assert f"Read {root} as LabelMe." in conversion.describe()
    first = json.loads((tmp_path / "out/annotations/train.json").read_text())["annotations"][:2]
    assert [a["area"] for a in first] == [63, 600]
    assert mask_utils.decode(first[0]["segmentation"]).sum() == 63
    assert first[1]["segmentation"] == [[10, 12, 40, 12, 40, 32, 10, 32]]
