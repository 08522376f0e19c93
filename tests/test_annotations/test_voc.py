"""Pascal VOC: which picture an annotation has, which split, and what tools write besides."""

import labelled_data
import pytest

from mmdet_rank.annotations.conversion import convert_data, read_data

LISTS = "ImageSets/Main"


def members(data):
    return {split: sorted(p.file.stem for p in found) for split, found in data.splits.items()}


def test_a_mask_beside_the_pictures_is_not_taken_for_one(tmp_path):
    """As in Oxford-IIIT Pet: annotations/trimaps/NAME.png, and images/NAME.jpg."""
    root = labelled_data.write_voc(tmp_path / "data")
    (root / "Annotations").rename(root / "xmls")
    (root / "annotations").mkdir()
    (root / "xmls").rename(root / "annotations/xmls")
    for folder in ("annotations/trimaps", "Masks"):
        labelled_data.write_pictures(root / folder, suffix=".png")
    data = read_data(root)
    files = {picture.file for found in data.splits.values() for picture in found}
    assert files == {root / "JPEGImages" / f"{name}.jpg" for name in labelled_data.SIZES}
    assert data.left_out == {"pictures without an annotation file": 10}
    # Without a name that is stated it is the photograph.
    for file in (root / "annotations/xmls").iterdir():
        file.write_text(file.read_text().replace(f"<filename>{file.stem}.jpg</filename>", ""))
    assert read_data(root) == data


def test_pictures_of_one_name_go_by_their_folders(tmp_path):
    for camera, name in (("cam1", "a"), ("cam2", "b")):
        labelled_data.write_pictures(tmp_path / camera / "images", ["a", "c"])
        (tmp_path / "xml" / camera).mkdir(parents=True)
        text = labelled_data.voc_xml(name, [(camera, 2, 2, 20, 20)], size=labelled_data.SIZES["a"])
        (tmp_path / "xml" / camera / "a.xml").write_text(text)
    (found,) = read_data(tmp_path).splits.values()
    assert {p.file.parts[-3]: p.objects[0].category for p in found} == {
        "cam1": "cam1",
        "cam2": "cam2",
    }
    # In no folder that the annotation has.
    (tmp_path / "xml" / "c.xml").write_text(labelled_data.voc_xml("c"))
    reason = "annotation files with several pictures of their name (the first counts)"
    assert read_data(tmp_path).left_out[reason] == 1


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        # As CVAT writes them.
        ({"Train": "abc", "Validation": "d", "Test": "e"}, ("abc", "d", "e")),
        ({"trainval": "abcd", "test": "e"}, ("abcd", "", "e")),
        ({"trainval": "abcd", "train": "abc", "val": "d", "test": "e"}, ("abc", "d", "e")),
        ({"trainval": "abcd", "val": "d"}, ("abc", "d", "")),
        # What is not to be measured on is to be trained on.
        ({"test": "e"}, ("abcd", "", "e")),
    ],
)
def test_lists_of_splits(tmp_path, lists, expected):
    root = labelled_data.write_voc(tmp_path / "data")
    for file in (root / LISTS).iterdir():
        file.unlink()
    for name, stems in lists.items():
        (root / LISTS / f"{name}.txt").write_text("\n".join(stems))
    # Of one class, with a number behind each name.
    (root / LISTS / "ring_val.txt").write_text("a -1\nb 1\n")
    found = members(read_data(root))
    assert found == {
        split: list(stems)
        for split, stems in zip(("train", "val", "test"), expected, strict=True)
        if stems
    }


@pytest.mark.parametrize(
    "write",
    [
        lambda stems: "\n".join(f"{stem}.jpg" for stem in stems),
        lambda stems: "\n".join(f"C:\\data\\JPEGImages\\{stem}.jpg" for stem in stems),
        lambda stems: "\ufeff" + "\r\n".join(f"{stem} 1" for stem in stems),
    ],
)
def test_lines_of_lists(tmp_path, write):
    root = labelled_data.write_voc(tmp_path / "data")
    expected = read_data(root)
    for split, stems in labelled_data.SPLITS.items():
        (root / LISTS / f"{split}.txt").write_text(write(stems), encoding="utf-8")
    assert members(read_data(root)) == members(expected)
    # A name with a space, one that nothing has, and a picture in no list.
    (root / "JPEGImages/a.jpg").rename(root / "JPEGImages/my photo.jpg")
    (root / "Annotations/a.xml").rename(root / "Annotations/my photo.xml")
    (root / LISTS / "train.txt").write_text(write(["my photo", "b", "x"]), encoding="utf-8")
    data = read_data(root)
    assert members(data) == {"train": ["b", "my photo"], "val": ["d"]}
    assert data.left_out == {
        "names in the lists of ImageSets/Main that no annotated picture has": 1,
        "pictures in none of the lists of ImageSets/Main": 2,
    }


def test_lists_that_name_nothing_are_not_used(tmp_path):
    root = labelled_data.write_voc(tmp_path / "data")
    for split in labelled_data.SPLITS:
        (root / LISTS / f"{split}.txt").write_text("1\n2\n")
    data = read_data(root)
    assert members(data) == {"train": list("abcde")}
    assert "name none of the annotated pictures" in data.notes[0]


def test_splits_by_the_folders_of_the_pictures(tmp_path):
    for split, stems in labelled_data.SPLITS.items():
        labelled_data.write_pictures(tmp_path / "images" / split, stems)
    (tmp_path / "annotations").mkdir()
    for name in labelled_data.SIZES:
        (tmp_path / "annotations" / f"{name}.xml").write_text(labelled_data.voc_xml(name))
    assert members(read_data(tmp_path)) == labelled_data.SPLITS


def test_encodings_and_files_of_other_things(tmp_path):
    root = labelled_data.write_voc(tmp_path / "data")
    # Before all others.
    (root / "Annotations/A.xml").write_text("")
    (root / "Annotations/B.xml").write_text("<kml><object/></kml>")
    name = "\u6234\u73af"
    for file, encoding, declared in (
        ("a", "gbk", "GBK"),
        ("b", "utf-8", "ANSI"),
        ("c", "utf-16", "utf-16"),
    ):
        text = labelled_data.voc_xml(file).replace("ring", name).replace("48", " 48 ")
        text = f'<?xml version="1.0" encoding="{declared}"?>\n{text}'
        (root / f"Annotations/{file}.xml").write_bytes(text.encode(encoding))
    data = read_data(root)
    assert data.count("train") == {"bar": 3, "ring": 0, name: 2}
    assert data.left_out == {
        "annotation files that are not XML": 1,
        "XML files of other things": 1,
    }


def test_a_picture_annotated_twice_is_one(tmp_path):
    root = labelled_data.write_voc(tmp_path / "data")
    (root / LISTS / "train.txt").unlink()
    (root / LISTS / "val.txt").unlink()
    whole = convert_data(root, tmp_path / "one", val_share=0.4)
    (root / "Annotations_backup").mkdir()
    for file in (root / "Annotations").iterdir():
        (root / "Annotations_backup" / file.name).write_text(file.read_text())
    more = labelled_data.voc_xml("b", [("ring", 1, 1, 9, 9)])
    (root / "Annotations_backup/b.xml").write_text(more)
    double = convert_data(root, tmp_path / "two", val_share=0.4)
    assert double.data.left_out["pictures annotated twice, whose objects were put together"] == 5
    assert members(double.data) == members(whole.data)
    objects = {p.file.stem: len(p.objects) for s in double.data.splits.values() for p in s}
    assert objects == {"a": 2, "b": 2, "c": 2, "d": 1, "e": 0}
