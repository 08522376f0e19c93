"""Pictures with masks of one class each: where the masks lie, and what becomes of them."""

import cv2
import labelled_data
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as mask_utils

from mmdet_rank.annotations.conversion import UNUSABLE, read_data


def test_masks_become_their_connected_parts(tmp_path):
    root = labelled_data.write_masks(tmp_path / "data")
    data = read_data(root)
    assert data.form == "masks"
    assert data.left_out == {"specks of under 10 pixels": 5}
    found = {(p.file.parts[-3], p.file.stem): p.objects for p in data.splits["train"]}
    assert len(found) == 5
    bars = found["bar", "c"]
    assert [labelled.box for labelled in bars] == [(2, 2, 58, 7), (5, 30, 45, 11)]
    assert [labelled.area for labelled in bars] == [58 * 7, 45 * 11]
    # The run lengths are of one part alone.
    assert mask_utils.area(bars[1].segmentation) == 45 * 11
    assert mask_utils.toBbox(bars[1].segmentation).tolist() == [5, 30, 45, 11]
    assert [o.category for o in found["ring", "a"]] == ["ring"]


def test_masks_in_a_folder_beside_the_pictures(tmp_path):
    root = tmp_path / "cracks"
    labelled_data.write_pictures(root / "images", ["a", "b"])
    (root / "masks").mkdir()
    for name in "ab":
        width, height = labelled_data.SIZES[name]
        mask = cv2.rectangle(
            cv2.cvtColor(cv2.imread(str(root / f"images/{name}.jpg")) * 0, cv2.COLOR_BGR2GRAY),
            (3, 4),
            (12, 9),
            1,
            -1,
        )
        assert mask.shape == (height, width)
        cv2.imwrite(str(root / f"masks/{name}.png"), mask)
    data = read_data(root)
    assert data.classes == ["cracks"]
    assert [p.objects[0].box for p in data.splits["train"]] == [(3, 4, 10, 6)] * 2


def test_masks_with_a_palette_and_in_colour_are_read_by_their_values(tmp_path):
    root = tmp_path / "cracks"
    labelled_data.write_pictures(root / "images", ["a", "b"])
    (root / "masks").mkdir()
    for name, box in (("a", (3, 4, 13, 10)), ("b", (5, 2, 9, 12))):
        values = np.zeros(labelled_data.SIZES[name][::-1], dtype=np.uint8)
        values[box[1] : box[3], box[0] : box[2]] = 1 if name == "a" else 255
        if name == "a":
            mask = Image.fromarray(values)
            mask.putpalette([0, 0, 0, 128, 0, 0])
        else:
            mask = Image.fromarray(np.dstack([values] * 3 + [np.full_like(values, 255)]))
        mask.save(root / f"masks/{name}.png")
    data = read_data(root)
    assert [p.objects[0].box for p in data.splits["train"]] == [(3, 4, 10, 6), (5, 2, 4, 10)]
    assert not data.left_out


@pytest.mark.parametrize(
    ("picture", "mask"),
    [
        ("images/{name}.jpg", "masks/{category}/{name}.png"),
        ("images/{split}/{name}.jpg", "masks/{split}/{category}/{name}.png"),
        ("{split}/images/{name}.jpg", "{split}/{category}/masks/{name}_mask.png"),
        ("images/{name}.png", "{category}/masks/{name}.png"),
        ("{category}/images/{name}.png", "{category}/masks/{name}.png"),
        ("{category}/{name}.png", "{category}/{name}_mask.png"),
        ("{category}/{split}/{name}.jpg", "{category}/{split}/{name}.png"),
    ],
)
def test_layouts_of_masks_of_one_class_each(tmp_path, picture, mask):
    """The same objects come out of wherever tools and people put masks."""
    root = tmp_path / "data"
    splits = {name: split for split, names in labelled_data.SPLITS.items() for name in names}
    for name, objects in labelled_data.OBJECTS.items():
        for category in labelled_data.CLASSES:
            places = {"name": name, "category": category, "split": splits[name]}
            boxes = [corners for kind, *corners in objects if kind == category]
            if not boxes and "{category}" in picture:
                continue
            file = root / picture.format(**places)
            labelled_data.write_pictures(file.parent, [name], file.suffix)
            if boxes:
                labelled_data.write_mask(root / mask.format(**places), name, boxes)
    data = read_data(root)
    assert data.form == "masks"
    split = "{split}" in picture
    assert set(data.splits) == ({"train", "val"} if split else {"train"})
    found = {}
    for each in data.splits.values():
        for labelled in each:
            found.setdefault(labelled.file.stem, []).append(labelled)
    together = "{category}" not in picture
    assert set(found) == set("abcd")
    for name, pictures in found.items():
        objects = labelled_data.OBJECTS[name]
        assert len(pictures) == (1 if together else len({o[0] for o in objects}))
        boxes = sorted((o.category, *o.box) for p in pictures for o in p.objects)
        expected = [(kind, x1, y1, x2 - x1, y2 - y1) for kind, x1, y1, x2, y2 in objects]
        assert boxes == sorted(expected)
    alone = {"pictures without a mask": 1} if together else {}
    assert data.left_out == {"specks of under 10 pixels": 5} | alone


def of_classes(values):
    """Numbers of classes, 255 for void, as MMSegmentation has them."""
    values[8:20, 8:30], values[24:40, 10:40] = 1, 2
    return cv2.rectangle(values, (7, 7), (30, 20), 255, 2)


def of_objects(values):
    """A number for each of 140 objects."""
    for number in range(140):
        y, x = divmod(number, 14)
        values[4 * y + 1 : 4 * y + 5, 4 * x : 4 * x + 4] = number + 1
    return values


@pytest.mark.parametrize("make", [of_classes, of_objects])
@pytest.mark.parametrize("palette", [False, True])
def test_masks_of_several_classes_or_objects_are_not_taken(tmp_path, make, palette):
    root = tmp_path / "streets"
    labelled_data.write_pictures(root / "images", ["a", "b"])
    (root / "masks").mkdir()
    for name in "ab":
        mask = Image.fromarray(make(np.zeros(labelled_data.SIZES[name][::-1], np.uint8)))
        if palette:
            mask.putpalette([number * shift % 256 for number in range(256) for shift in (7, 3, 5)])
        mask.save(root / f"masks/{name}.png")
    with pytest.raises(ValueError, match="2 masks of numbers or colours of classes, which are not"):
        read_data(root)


@pytest.mark.parametrize("number", [3, 90])
def test_masks_that_cannot_be_used_are_told(tmp_path, number):
    root = tmp_path / "cracks" / "images"
    labelled_data.write_pictures(root, ["a", "b"])
    numbers = np.zeros((48, 64), np.uint8)
    numbers[5:9, 5:20] = number  # of some class
    cv2.imwrite(str(root / "a_mask.png"), numbers)
    with pytest.raises(ValueError, match="1 masks of numbers or colours of classes, which are not"):
        read_data(root)
    labelled_data.write_mask(root / "b_mask.png", "b", [(10, 12, 40, 50)])
    labelled_data.write_mask(root / "masks" / "z.png", "b", [(10, 12, 40, 50)])
    data = read_data(root)
    # The folder is called after what it holds, so the class is that of the folder above.
    assert data.classes == ["cracks"]
    assert data.left_out == {
        "specks of under 10 pixels": 1,
        "masks of numbers or colours of classes, which are not taken": 1,
        "masks without a picture": 1,
        UNUSABLE: 1,
    }
    assert [p.file.name for p in data.splits["train"]] == ["b.jpg"]
    # Broken masks, and those of another size, are told apart.
    labelled_data.write_pictures(root, ["c", "d", "e"])
    labelled_data.write_mask(root / "c_mask.png", "d", [(10, 12, 40, 30)])
    for name in "de":
        (root / f"{name}_mask.png").write_bytes(b"no picture")
    left_out = read_data(root).left_out
    assert left_out["masks of another size than their picture"] == 1
    assert left_out["masks that cannot be read"] == 2
