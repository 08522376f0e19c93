"""Data in YOLO's form: paths of other machines, numbers of classes, and what cannot be read."""

import labelled_data
import pytest

from mmdet_rank.annotations.conversion import convert_data, read_data


def test_yolo_polygons_and_one_folder_without_splits(tmp_path):
    root = labelled_data.write_yolo(tmp_path / "data", polygons=True, split_folders=False)
    data = read_data(root)
    assert sorted(p.file.stem for p in data.splits["train"]) == list("abcde")
    bars = {p.file.stem: p.objects for p in data.splits["train"]}["c"]
    assert bars[1].segmentation[0] == pytest.approx([5, 30, 50, 30, 50, 41, 5, 41], abs=1e-3)
    assert bars[1].area == pytest.approx(45 * 11, rel=1e-4)


def test_paths_of_another_machine_in_data_yaml(tmp_path):
    """Whole paths of Unix and Windows, and lists of whole paths."""
    root = labelled_data.write_yolo(tmp_path / "data")
    # Folders whose names say nothing.
    for kind in ("images", "labels"):
        for split, name in (("train", "one"), ("val", "two")):
            (root / kind / split).rename(root / kind / name)
    heads = [
        "path: /home/me/set\ntrain: /home/me/set/images/one\nval: /home/me/set/images/two\n",
        "train: C:\\Users\\me\\set\\images\\one\nval: C:\\Users\\me\\set\\images\\two\n",
        "path: /home/me/set\ntrain: one.txt\nval: two.txt\n",
    ]
    for split, name in (("train", "one"), ("val", "two")):
        lines = [f"/home/me/set/images/{name}/{n}.jpg" for n in labelled_data.SPLITS[split]]
        (root / f"{name}.txt").write_text("\n".join(lines))
    for head in heads:
        (root / "data.yaml").write_text(head + "names: {0: ring, 1: bar}\n")
        data = read_data(root)
        stems = {split: [p.file.stem for p in pictures] for split, pictures in data.splits.items()}
        assert stems == labelled_data.SPLITS
        assert data.notes == []
    (root / "data.yaml").write_text("train: images/none\nnames: [ring, bar]\n")
    data = read_data(root)
    assert len(data.splits["train"]) == 5
    assert "says that pictures are in images/none, where there are none" in data.notes[0]


def test_numbers_of_classes_are_those_of_data_yaml(tmp_path):
    root = labelled_data.write_yolo(tmp_path / "data")
    (root / "data.yaml").write_text("train: images/train\nval: images/val\nnames: {1: bar, 7: x}\n")
    data = read_data(root)
    assert data.categories == {"bar": 2, "x": 8}
    # Rings are 0, and nothing is called so.
    assert data.left_out == {
        "objects of a class that has no name": 3,
        "pictures without a label file, taken as without objects": 1,
    }
    assert data.count("train") == {"bar": 3, "x": 0}
    notes = convert_data(root, tmp_path / "out").data.notes
    assert notes == [
        "x: no object in the pictures of train, so not learnt.",
        "bar, x: no object in the pictures of val, so not measured.",
    ]


def test_labels_with_windows_line_ends_keypoints_and_faults(tmp_path):
    root = labelled_data.write_yolo(tmp_path / "data")
    plain = read_data(root)
    for file in [*root.rglob("*.txt"), root / "data.yaml"]:
        text = file.read_bytes().replace(b"\n", b"\r\n")
        file.write_bytes(b"\xef\xbb\xbf" + text + b"\r\n")
    assert read_data(root) == plain
    # Two keypoints of two numbers each, which would be a polygon.
    with (root / "data.yaml").open("a") as file:
        file.write("kpt_shape: [2, 2]\n")
    for file in root.rglob("*.txt"):
        lines = file.read_text(encoding="utf-8-sig").split("\n")
        file.write_text("\n".join(f"{line} 0.5 0.5 0.6 0.6" for line in lines if line.strip()))
    assert read_data(root) == plain
    file = root / "labels/train/a.txt"
    file.write_text("0 12 18 16 24\n" + file.read_text())
    (root / "labels/train/z.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    (root / "images/train/c.jpg").write_bytes(b"no picture")
    found = read_data(root)
    assert found.splits["train"] == [p for p in plain.splits["train"] if p.file.stem != "c"]
    assert found.left_out == {
        "pictures that cannot be read": 1,
        "lines in pixels, where YOLO has shares of the picture": 1,
        "label files without a picture": 1,
        "pictures without a label file, taken as without objects": 1,
    }


def test_yolo_of_another_machine_and_a_list_of_classes(tmp_path):
    root = labelled_data.write_yolo(tmp_path / "data")
    text = "train: ../train/images\nval: ../valid/images\nnames: {0: ring, 1: bar}\n"
    for split, folder in (("train", "train"), ("val", "valid")):
        for kind in ("images", "labels"):
            (root / folder).mkdir(exist_ok=True)
            (root / kind / split).rename(root / folder / kind)
    (root / "data.yaml").write_text(text)
    data = read_data(root / "data.yaml")
    assert {s: len(p) for s, p in data.splits.items()} == {"train": 4, "val": 1}
    (root / "data.yaml").unlink()
    (root / "classes.txt").write_text("ring\nbar\n")
    again = read_data(root)
    assert [again.count(split) for split in data.splits] == [data.count(s) for s in data.splits]


def test_class_names_that_may_be_one(tmp_path):
    root = labelled_data.write_yolo(tmp_path / "yolo")
    text = (root / "data.yaml").read_text()
    (root / "data.yaml").write_text(text.replace("[ring, bar]", "[ring, ring]"))
    with pytest.raises(ValueError, match=r"classes \[0, 1\] are all called 'ring'"):
        read_data(root)
    (root / "data.yaml").write_text(text.replace("[ring, bar]", "[ring, Ring]"))
    assert "Ring and ring count as classes of their own" in read_data(root).notes[0]


def stems(data):
    return {split: sorted(p.file.stem for p in found) for split, found in data.splits.items()}


def test_data_yaml_goes_before_others(tmp_path):
    root = labelled_data.write_yolo(tmp_path / "data")
    expected = read_data(root)
    (root / "coco.yaml").write_text("names: [person, bicycle]\n")
    assert read_data(root) == expected
    (root / "data.yaml").rename(root / "mine.yaml")
    with pytest.raises(ValueError, match=r"but coco.yaml and mine.yaml name different ones; give"):
        read_data(root)
    assert read_data(root / "mine.yaml") == expected
    # The same names twice say one thing.
    (root / "coco.yaml").write_text((root / "mine.yaml").read_text())
    assert read_data(root) == expected


def test_a_blank_line_in_a_list_of_classes_keeps_its_number(tmp_path):
    root = labelled_data.write_yolo(tmp_path / "data", split_folders=False)
    (root / "data.yaml").unlink()
    (root / "classes.txt").write_text("ring\n\nbar\n")
    data = read_data(root)
    assert data.categories == {"ring": 1, "bar": 3}
    # Bars are 1, which has no name.
    assert data.left_out["objects of a class that has no name"] == 3


def test_names_in_another_encoding_are_refused(tmp_path):
    root = labelled_data.write_yolo(tmp_path / "data")
    (root / "data.yaml").unlink()
    (root / "classes.txt").write_bytes("Stra\xdfe\nring\n".encode("cp1252"))
    with pytest.raises(ValueError, match=r"names of classes in UTF-8 in .*classes.txt, but got"):
        read_data(root)


def test_what_labelimg_writes_beside_the_labels(tmp_path):
    root = labelled_data.write_yolo(tmp_path / "data")
    expected = read_data(root)
    (root / "data.yaml").unlink()
    for split in labelled_data.SPLITS:
        (root / "labels" / split / "classes.txt").write_text("ring\nbar\n")
    found = read_data(root)
    assert found.splits == expected.splits
    assert found.categories == expected.categories
    (root / "labels/val/classes.txt").write_text("bar\nring\n")
    with pytest.raises(ValueError, match=r"nothing names the classes of labels such as .*add data"):
        read_data(root)


def test_a_list_of_classes_beside_other_forms(tmp_path):
    for write in (labelled_data.write_voc, labelled_data.write_labelme):
        root = write(tmp_path / write.__name__)
        expected = read_data(root)
        (root / "labels.txt").write_text("__ignore__\nring\nbar\n")
        assert read_data(root) == expected


def test_lists_of_darknet_and_cvat(tmp_path):
    """obj.names, train.txt and valid.txt, pictures and labels in one folder."""
    folder = tmp_path / "obj_train_data"
    labelled_data.write_pictures(folder)
    for name in labelled_data.SIZES:
        (folder / f"{name}.txt").write_text(labelled_data.yolo_lines(name))
    (tmp_path / "obj.names").write_text("ring\nbar\n")
    (tmp_path / "obj.data").write_text("classes = 2\ntrain = data/train.txt\n")
    for file, split in (("train", "train"), ("valid", "val")):
        lines = [f"data/obj_train_data/{name}.jpg" for name in labelled_data.SPLITS[split]]
        (tmp_path / f"{file}.txt").write_text("\ufeff" + "\n".join(lines), encoding="utf-8")
    data = read_data(tmp_path)
    assert stems(data) == labelled_data.SPLITS
    assert not data.left_out


def test_lists_are_relative_to_themselves_and_what_is_missing_is_counted(tmp_path):
    root = labelled_data.write_yolo(tmp_path / "data")
    lists = {
        "train": ["./train/a.jpg", "./train/b.jpg", "./train/x.jpg", "", "./train/y.jpg"],
        "val": ["./val/d.jpg"],
    }
    for split, lines in lists.items():
        (root / "images" / f"{split}.txt").write_text("\n".join(lines))
    (root / "data.yaml").write_text(
        "train: images/train.txt\nval: images/val.txt\nnames: [ring, bar]\n"
    )
    data = read_data(root)
    assert stems(data) == {"train": ["a", "b"], "val": ["d"]}
    assert data.left_out == {
        "pictures of a list that are not there": 2,
        # Of c, which is in no list.
        "label files without a picture": 1,
    }


def test_places_that_are_no_paths_are_refused(tmp_path):
    root = labelled_data.write_yolo(tmp_path / "data")
    for value in ("0.8", "[images/train, 3]", "{a: b}"):
        (root / "data.yaml").write_text(f"train: {value}\nnames: [ring, bar]\n")
        with pytest.raises(ValueError, match=r"several of them as train in .*data.yaml, but got"):
            read_data(root)


def test_numbers_that_are_not_finite_are_counted(tmp_path):
    root = labelled_data.write_yolo(tmp_path / "data")
    with (root / "labels/train/a.txt").open("a") as file:
        file.write("\n0 0.1 0.1 nan 0.5 0.5 0.5\n0 0.5 0.5 0.1 inf\n")
    data = convert_data(root, tmp_path / "out").data
    assert data.left_out["lines that are neither a box nor a polygon"] == 2
    assert data.count("train") == {"bar": 3, "ring": 2}


def test_pictures_of_validation_are_not_trained_on(tmp_path):
    root = labelled_data.write_yolo(tmp_path / "data")
    (root / "data.yaml").write_text("train: images\nval: images/val\nnames: [ring, bar]\n")
    data = read_data(root)
    assert stems(data) == labelled_data.SPLITS
    assert data.notes == ["1 pictures of train are in val too: they are not trained on."]
    # Validation on all that there is is none.
    (root / "data.yaml").write_text("train: images/train\nval: images\nnames: [ring, bar]\n")
    data = read_data(root)
    assert stems(data) == {"train": list("abce")}
    assert data.notes == ["val has all pictures of train, and counts as missing."]
    text = "train: images/train\nval: images/val\ntest: images/val\nnames: [ring, bar]\n"
    (root / "data.yaml").write_text(text)
    note = "1 pictures of test are in val too, by which checkpoints are chosen."
    assert read_data(root).notes == [note]


def test_a_place_of_data_yaml_without_pictures_is_refused(tmp_path):
    root = labelled_data.write_yolo(tmp_path / "data")
    head = root / "data.yaml"
    text = head.read_text()
    head.write_text(f"{text}test: images/test\n")
    (note,) = read_data(root).notes
    assert note == "There are no pictures in images/test, which data.yaml gives for test: it " \
        "counts as missing."  # fmt: skip
    # As data sets without a validation set have it.
    head.write_text(text.replace("images/val", "../valid/pictures"))
    found = convert_data(root, tmp_path / "out")
    assert "no pictures in ../valid/pictures" in found.data.notes[0]
    assert found.drawn == ("val",)
    for wrong in (
        text.replace("images/val", "[images/val, images/more]"),
        text.replace("images/train", "[images/train, images/more]"),
        text.replace("images/train", "images/more"),
    ):
        head.write_text(wrong)
        with pytest.raises(ValueError, match=r"images/more, which .* gives for (val|train)"):
            read_data(root)


def test_an_empty_list_beside_the_names_counts_as_missing(tmp_path):
    root = labelled_data.write_yolo(tmp_path / "data", split_folders=False)
    (root / "data.yaml").unlink()
    (root / "obj.names").write_text("ring\nbar\n")
    names = [f"images/{name}.jpg" for name in labelled_data.SIZES]
    (root / "train.txt").write_text("\n".join(names))
    (root / "valid.txt").write_text("")
    assert list(read_data(root).splits) == ["train"]


def test_a_path_is_not_shortened_beyond_the_name_of_its_split(tmp_path):
    """Roboflow's data.yaml over images/train and images/val: both paths end in images."""
    root = labelled_data.write_yolo(tmp_path / "data")
    head = root / "data.yaml"
    head.write_text("train: ../train/images\nval: ../valid/images\nnames: [ring, bar]\n")
    assert convert_data(root, tmp_path / "out").drawn == ()
    data = read_data(root)
    assert stems(data) == labelled_data.SPLITS
    assert data.notes == [
        "data.yaml says that pictures are in ../train/images, ../valid/images, where there are "
        "none: all pictures beside it are taken, splits by the names of their folders."
    ]
    # With training alone, images/ would have the pictures of validation in it.
    head.write_text("train: /home/me/set/train/images\nnames: [ring, bar]\n")
    assert stems(read_data(root)) == labelled_data.SPLITS
    head.write_text("train: images/train\nval: ../valid/images\nnames: [ring, bar]\n")
    data = read_data(root)
    assert stems(data) == {"train": list("abce")}
    assert data.notes[0].startswith("There are no pictures in ../valid/images, which data.yaml")
    # Of what is above the name of the split nothing need be there.
    head.write_text("train: D:\\train\\set\\images\\train\nval: /valid/images/val\n"
                    "names: [ring, bar]\n")  # fmt: skip
    assert read_data(root).notes == []
    assert stems(read_data(root)) == labelled_data.SPLITS


def test_shortened_paths_of_two_splits_are_not_one_folder(tmp_path):
    root = labelled_data.write_yolo(tmp_path / "data")
    head = root / "data.yaml"
    head.write_text("train: /set/one/images\nval: /set/two/images\nnames: [ring, bar]\n")
    data = read_data(root)
    assert stems(data) == labelled_data.SPLITS
    assert "in /set/one/images, /set/two/images, where there are none" in data.notes[0]
    # A whole path stands, and what is given for both is meant.
    head.write_text("train: images\nval: /set/two/images\nnames: [ring, bar]\n")
    data = read_data(root)
    assert stems(data) == {"train": list("abcde")}
    assert data.notes[0].startswith("There are no pictures in /set/two/images, which data.yaml")
    head.write_text("train: /set/images\nval: /set/images\nnames: [ring, bar]\n")
    data = read_data(root)
    assert stems(data) == {"train": list("abcde")}
    assert data.notes == []


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("[on, off]", ["on", "off"]),
        ("[yes, no]", ["yes", "no"]),
        ("\n  0: No\n  1: true", ["No", "true"]),
        ("[null, 'on']", ["null", "on"]),
        ("[007, 12:30]", ["007", "12:30"]),
        ("[2.50, 0x1F]", ["2.50", "0x1F"]),
        # As they were read before.
        ("[0, 1]", ["0", "1"]),
        ("{0: 7, 1: 2.5}", ["7", "2.5"]),
        ("{'0': ring, 1: ~}", ["ring", "None"]),
        ("\n- ring\n- ", ["ring", "None"]),
        ("[2020-01-01, ring]", ["2020-01-01", "ring"]),
    ],
)
def test_names_of_classes_are_read_as_they_are_written(tmp_path, names, expected):
    root = labelled_data.write_yolo(tmp_path / "data")
    places = "path: ~\ntrain: images/train\nval: [images/val]\ntest: null\nnc: 2\n"
    (root / "data.yaml").write_text(f"{places}names: {names}\n")
    data = read_data(root)
    assert sorted(data.categories, key=data.categories.get) == expected
    assert data.count("train") == {expected[0]: 2, expected[1]: 3}
    assert stems(data) == labelled_data.SPLITS
    assert data.notes == []


@pytest.mark.parametrize("names", ["", "~", "null", "5", "on", "{a: 0}", "[]"])
def test_a_yaml_without_names_is_not_of_yolo(tmp_path, names):
    root = labelled_data.write_yolo(tmp_path / "data")
    (root / "data.yaml").write_text(f"train: images/train\nnames: {names}\n")
    with pytest.raises(ValueError, match="nothing names the classes of labels"):
        read_data(root)
