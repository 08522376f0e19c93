"""Image files: which there are, and their size as OpenCV shows them."""

from collections import Counter

import cv2
import labelled_data
import numpy as np
import pytest
from PIL import Image

from mmdet_rank.annotations.conversion import read_data
from mmdet_rank.annotations.pictures import common_root, list_files, open_picture

ORIENTATION = 0x0112


def save(file, orientation, size=(48, 64)):
    image = Image.fromarray(np.arange(size[0] * size[1], dtype=np.uint8).reshape(size[::-1]))
    exif = image.getexif()
    exif[ORIENTATION] = orientation
    image.save(file, exif=exif)
    return file


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_sizes_are_those_that_opencv_shows(tmp_path, suffix, orientation):
    file = save(tmp_path / f"a{suffix}", orientation)
    picture = open_picture(file, Counter())
    # As MMCV loads it.
    shown = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_COLOR)
    assert (picture.height, picture.width) == shown.shape[:2]


def test_a_picture_of_more_pixels_than_pillow_allows(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    file = save(tmp_path / "a.png", 1)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(file)
    picture = open_picture(file, Counter())
    assert (picture.width, picture.height) == (48, 64)
    assert Image.MAX_IMAGE_PIXELS == 1000


def test_annotations_of_the_size_before_the_turn_are_left_out(tmp_path):
    root = labelled_data.write_voc(tmp_path / "data")
    width, height = labelled_data.SIZES["a"]
    for name, size in (("a", (width, height)), ("c", (9, 9)), ("e", (height, width))):
        text = labelled_data.voc_xml(name, [("ring", 2, 2, 30, 30)], size=size)
        (root / "Annotations" / f"{name}.xml").write_text(text)
    # Stored as stated, and shown turned; e's annotation states what is shown.
    save(root / "JPEGImages/a.jpg", 6, (width, height))
    save(root / "JPEGImages/e.jpg", 6, (width, height))
    data = read_data(root)
    assert [p.file.stem for p in data.splits["train"]] == ["e", "c", "b"]
    (turned,) = (reason for reason in data.left_out if "turns" in reason)
    assert data.left_out[turned] == 1
    other = "pictures of another size than their annotation states (theirs counts)"
    assert data.left_out[other] == 1


def test_linked_folders_are_entered_once(tmp_path):
    root = tmp_path / "data"
    labelled_data.write_pictures(tmp_path / "disk", ["a", "b"])
    labelled_data.write_pictures(root / "images", ["c"])
    (root / ".hidden").mkdir()
    labelled_data.write_pictures(root / ".hidden", ["d"])
    (root / "linked").symlink_to(tmp_path / "disk")
    (root / "again").symlink_to(root / "images")
    (root / "images" / "up").symlink_to(root)
    (root / "linked once more").symlink_to(tmp_path / "disk")
    found = [file.relative_to(root).as_posix() for file in list_files(root)]
    assert found == ["images/c.jpg", "linked/a.jpg", "linked/b.jpg"]


def test_a_linked_folder_of_pictures_is_a_part_of_the_data(tmp_path):
    root = labelled_data.write_voc(tmp_path / "data")
    (root / "JPEGImages").rename(tmp_path / "disk")
    (root / "JPEGImages").symlink_to(tmp_path / "disk")
    data = read_data(root)
    assert {split: len(found) for split, found in data.splits.items()} == {"train": 4, "val": 1}
    assert data.root == root


def test_the_folder_of_all_pictures(tmp_path):
    files = [tmp_path / "a/b/x.jpg", tmp_path / "a/c/y.jpg"]
    assert common_root(tmp_path / "a/b", files) == tmp_path / "a"
    assert common_root(tmp_path, files) == tmp_path


def test_names_that_are_not_utf_8_are_refused(tmp_path):
    root = labelled_data.write_yolo(tmp_path / "data")
    picture = root / "images/train/a.jpg"
    try:
        picture.rename(picture.with_name("caf\udce9.jpg"))
    except OSError:
        pytest.skip("the file system takes UTF-8 alone")
    with pytest.raises(ValueError, match=r"names of files in UTF-8, but got .*caf\\udce9.jpg"):
        read_data(root)
