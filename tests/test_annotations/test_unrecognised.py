"""Folders and files that are not data sets: the message says what lies there and what to do."""

import labelled_data
import pytest

from mmdet_rank.annotations.conversion import read_data


def _without_names(root):
    labelled_data.write_yolo(root / "data")
    (root / "data" / "data.yaml").write_text("nc: 2\nnames: {a: ring}\n")
    return root / "data"


def _two_below(root):
    labelled_data.write_yolo(root / "one")
    labelled_data.write_yolo(root / "two")


def _archive(root):
    (root / "data.zip").write_bytes(b"PK")
    return root / "data.zip"


def _picture(root):
    labelled_data.write_pictures(root, ["a"])
    return root / "a.jpg"


@pytest.mark.parametrize(
    ("make", "found", "advice"),
    [
        (lambda root: None, "it is empty", "the pictures and their annotations."),
        (
            lambda root: labelled_data.write_pictures(root / "images"),
            "there are 5 pictures and no annotations",
            "masks/NAME.png or masks/CLASS/NAME.png, or beside it NAME_mask.png).",
        ),
        (_without_names, "a.txt (data.yaml has no names that can be read)", "in the labels."),
        (_two_below, "there are some below", "{root}/one, {root}/two."),
        (_archive, "it is an archive", "unpack it, and give the folder."),
        (_picture, "it is a picture", "the pictures and their annotations."),
    ],
)
def test_what_lies_there_instead_is_said(tmp_path, make, found, advice):
    root = tmp_path / "root"
    root.mkdir()
    given = make(root) or root
    with pytest.raises(ValueError, match="Expected a data set in") as error:
        read_data(given)
    message = str(error.value)
    assert message.startswith(f"Expected a data set in {given}, but ")
    assert found in message
    assert message.endswith(advice.format(root=root))
    assert "\n" not in message
