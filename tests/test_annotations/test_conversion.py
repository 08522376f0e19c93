"""Every form of one data set becomes the same COCO files, and what is left out is counted."""

import hashlib
import json

import commands
import cv2
import labelled_data
import pytest
from PIL import Image

from mmdet_rank.annotations import conversion
from mmdet_rank.annotations.conversion import convert_data, read_data
from mmdet_rank.annotations.pictures import list_files

FORMS = {
    "Pascal VOC": labelled_data.write_voc,
    "YOLO": labelled_data.write_yolo,
    "COCO": labelled_data.write_coco,
    "LabelMe": labelled_data.write_labelme,
}


def objects_of(path):
    """The objects of a COCO file by picture, in its order, without what names the form."""
    data = json.loads(path.read_text())
    names = {category["id"]: category["name"] for category in data["categories"]}
    found = {image["file_name"].rpartition("/")[2]: [] for image in data["images"]}
    files = {image["id"]: image["file_name"].rpartition("/")[2] for image in data["images"]}
    for annotation in data["annotations"]:
        entry = (names[annotation["category_id"]], annotation["bbox"], annotation["area"])
        found[files[annotation["image_id"]]].append(entry)
    return list(names.values()), list(found.items())


def fingerprint(root):
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_files_and_stays_as_it_is(form, tmp_path):
    root = FORMS[form](tmp_path / "data")
    before = fingerprint(root)
    outcome = convert_data(root, tmp_path / "out")
    assert fingerprint(root) == before
    assert outcome.data.form == form
    assert f"Read {root} as {form}." in outcome.describe()
    assert outcome.drawn == ()
    for split, names in labelled_data.SPLITS.items():
        path = tmp_path / "out" / "annotations" / f"{split}.json"
        expected = [
            (f"{n}.jpg", [(c, [x1, y1, x2 - x1, y2 - y1], (x2 - x1) * (y2 - y1)) for
                          c, x1, y1, x2, y2 in labelled_data.OBJECTS[n]])
            for n in names
        ]  # fmt: skip
        classes, found = objects_of(path)
        assert classes == ["bar", "ring"]
        assert [name for name, _ in found] == [name for name, _ in expected]
        for (_, objects), (_, wanted) in zip(found, expected, strict=True):
            for (c1, box, area), (c2, wanted_box, wanted_area) in zip(objects, wanted, strict=True):
                assert c1 == c2
                # YOLO's files have six digits.
                assert box == pytest.approx(wanted_box, abs=1e-3)
                assert area == pytest.approx(wanted_area, rel=1e-4)
        data = json.loads(path.read_text())
        for image in data["images"]:
            assert (outcome.data.root / image["file_name"]).is_file()
            stem = image["file_name"].rpartition("/")[2].removesuffix(".jpg")
            assert (image["width"], image["height"]) == labelled_data.SIZES[stem]


def test_what_was_converted_is_a_data_set_itself(tmp_path):
    """Its pictures lie elsewhere, in the folder that the files name."""
    root = labelled_data.write_voc(tmp_path / "data" / "voc")
    first = convert_data(root, tmp_path / "first")
    again = convert_data(tmp_path / "first", tmp_path / "again")
    where = f"Read {tmp_path / 'first'} as COCO; its pictures lie in {tmp_path}"
    assert again.describe().startswith(where)
    for split in labelled_data.SPLITS:
        for one, other in zip(first.data.splits[split], again.data.splits[split], strict=True):
            assert one.file == other.file
        assert objects_of(first.files[split]) == objects_of(again.files[split])


def test_a_training_within_the_data_is_not_part_of_it(tmp_path):
    root = labelled_data.write_voc(tmp_path / "data")
    before = read_data(root)
    work = root / "work_dirs" / "cells"
    convert_data(root, work)
    labelled_data.write_pictures(work / "predictions" / "JPEGImages")
    again = read_data(root)
    assert again == before
    # Given by itself it is data, and what lies beside it is.
    assert read_data(work).form == "COCO"
    labelled_data.write_pictures(root / "work_dirs" / "others")
    folders = {path.relative_to(root).parts[:2] for path in list_files(root)}
    assert {("work_dirs", "others")} == {f for f in folders if f[0] == "work_dirs"}


def test_coco_keeps_the_ids_of_its_categories(tmp_path):
    found = convert_data(labelled_data.write_coco(tmp_path / "data"), tmp_path / "out")
    data = json.loads(found.files["train"].read_text())
    assert data["categories"] == [{"id": 5, "name": "bar"}, {"id": 4, "name": "ring"}]


def test_what_cannot_be_used_is_counted_by_reason(tmp_path):
    root = labelled_data.write_voc(tmp_path / "data")
    bad = [
        ("ring", 4, 4, 4, 20),
        ("ring", -9, 2, 20, 20),
        ("ring", 70, 2, 90, 20),
        ("ring", 5, 5, 5.5, 9),
        ("ring", "nan", 5, 9, 9),
        ("ring", "", 5, 9, 9),
        ("bar", 4, 4, 10, 10),
    ]
    annotations = root / "Annotations"
    (annotations / "a.xml").write_text(labelled_data.voc_xml("a", bad, size=(640, 480)))
    (annotations / "b.xml").write_text(labelled_data.voc_xml("b", difficult=1))
    (annotations / "c.xml").write_text("<annotation><object>")
    (annotations / "z.xml").write_text(labelled_data.voc_xml("a").replace("a.jpg", "z.jpg"))
    (root / "JPEGImages" / "e.jpg").write_bytes(b"no picture")
    found = convert_data(root, tmp_path / "out")
    assert found.data.left_out == {
        "objects without width or height": 1,
        "boxes cut at the edge of their picture": 1,
        "objects outside of their picture": 1,
        "objects narrower than one pixel": 1,
        "objects whose box has no finite numbers": 1,
        "objects without a name or a box": 1,
        "pictures of another size than their annotation states (theirs counts)": 1,
        "annotation files that are not XML": 1,
        "annotation files without a picture": 1,
        "pictures that cannot be read": 1,
        # Those of the broken files.
        "pictures without an annotation file": 2,
        "names in the lists of ImageSets/Main that no annotated picture has": 2,
    }
    train = json.loads(found.files["train"].read_text())
    boxes = [(a["bbox"], a["iscrowd"]) for a in train["annotations"]]
    assert boxes == [([0, 2, 20, 18], 0), ([4, 4, 6, 6], 0), ([10, 12, 30, 38], 1)]
    assert "1 objects without width or height" in found.describe()
    assert "1 objects are marked to be ignored" in found.describe()
    written = json.loads((tmp_path / "out/annotations/conversion.json").read_text())
    assert written["left_out"] == found.data.left_out
    assert written["objects"]["val"] == {"bar": 0, "ring": 1}


def test_a_picture_that_its_metadata_turns(tmp_path):
    root = labelled_data.write_voc(tmp_path / "data")
    turned = Image.open(root / "JPEGImages/d.jpg").transpose(Image.Transpose.ROTATE_90)
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(root / "JPEGImages/d.jpg", exif=exif)
    assert cv2.imread(str(root / "JPEGImages/d.jpg")).shape == (40, 80, 3)
    (picture,) = read_data(root).splits["val"]
    assert (picture.width, picture.height) == (80, 40)


def test_a_split_is_drawn_by_the_seed_and_the_names_alone(tmp_path):
    taken = {}
    for form, write in FORMS.items():
        root = write(tmp_path / form.replace(" ", ""))
        for path in [*root.rglob("ImageSets/Main/*"), *root.rglob("*2017.json")]:
            path.unlink()
        if form == "COCO":
            data = labelled_data.coco_data(sorted(labelled_data.SIZES))
            (root / "all.json").write_text(json.dumps(data))
            labelled_data.write_pictures(root / "images")
        if form == "YOLO":
            labelled_data.write_yolo(root, split_folders=False)
            for split in ("train", "val"):
                for path in [*(root / "images" / split).iterdir()]:
                    path.unlink()
        if form == "LabelMe":
            for split in ("train", "val"):
                (root / split).rename(root / f"part {split}")
        for seed in (0, 1):
            out = tmp_path / f"out-{root.name}-{seed}"
            found = convert_data(root, out, seed=seed, val_share=0.4)
            assert found.drawn == ("val",)
            assert f"drawn with seed {seed}" in found.describe()
            val = [p.file.stem for p in found.data.splits["val"]]
            train = [p.file.stem for p in found.data.splits["train"]]
            assert sorted(val + train) == list("abcde")
            taken.setdefault(seed, []).append(val)
    assert taken[0] == [taken[0][0]] * len(FORMS)
    assert taken[1] == [taken[1][0]] * len(FORMS)


def test_a_test_set_is_drawn_where_it_is_asked_for(tmp_path):
    root = labelled_data.write_masks(tmp_path / "data")
    found = convert_data(root, tmp_path / "out", val_share=0.3, test_share=0.3)
    assert found.drawn == ("test", "val")
    assert list(found.files) == ["train", "val", "test"]
    assert sum(len(pictures) for pictures in found.data.splits.values()) == 5
    for split in found.files:
        assert found.data.splits[split]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: (root / "x.json").write_text("[]"), "there is none (1 .json)"),
        (lambda root: (root / "a.xml").write_text(labelled_data.voc_xml("a")), "has its picture"),
    ],
)
def test_what_is_not_recognised_is_refused(tmp_path, change, message, capsys):
    change(tmp_path)
    assert commands.convert_data([str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_all_objects_lost_is_refused_with_the_reason(tmp_path):
    root = labelled_data.write_voc(tmp_path / "data")
    for path in (root / "Annotations").iterdir():
        tiny = [("ring", 0.1, 0.1, 0.5, 0.6)]
        path.write_text(labelled_data.voc_xml(path.stem, tiny))
    with pytest.raises(ValueError, match="none can be used: 5 objects narrower than one pixel"):
        read_data(root)


def test_objects_that_are_all_ignored_are_told_where_none_can_be_used(tmp_path):
    root = labelled_data.write_voc(tmp_path / "data")
    for path in (root / "Annotations").iterdir():
        path.write_text(labelled_data.voc_xml(path.stem, difficult=1))
    with pytest.raises(ValueError, match="none can be used: 6 objects are marked to be ignored"):
        read_data(root)
    for path in (root / "Annotations").iterdir():
        path.write_text(labelled_data.voc_xml(path.stem, []))
    with pytest.raises(ValueError, match="none can be used: there is not one"):
        read_data(root)


def test_a_category_twice_is_refused_with_both_entries(tmp_path):
    root = labelled_data.write_coco(tmp_path / "data")
    for path in root.rglob("*.json"):
        data = json.loads(path.read_text())
        data["categories"].append({"id": 9, "name": "ring", "supercategory": "none"})
        path.write_text(json.dumps(data))
    with pytest.raises(ValueError, match=r"\(id 4\) and 2 \(id 9\) are both called 'ring'"):
        read_data(root)


def test_the_command_writes_and_says_what(tmp_path, capsys):
    root = labelled_data.write_yolo(tmp_path / "data")
    assert commands.convert_data([str(root), "--out", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert "as YOLO" in out
    assert "train: 4 pictures with 3 bar, 2 ring." in out
    assert str(tmp_path / "out/annotations/val.json") in out


def test_a_json_file_given_by_itself_says_what_is_wrong(tmp_path):
    for text, message in (
        ("{", "cannot be read"),
        ("[1]", "Expected COCO annotations"),
        ('{"images": [3], "annotations": [], "categories": []}', "image 0"),
    ):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(ValueError, match=message):
            read_data(tmp_path / "a.json")


def test_one_coco_file_with_a_byte_order_mark_and_ids_as_text(tmp_path):
    labelled_data.write_pictures(tmp_path / "images")
    data = labelled_data.coco_data(list("abcde"))
    for image in data["images"]:
        image["id"] = str(image["id"])
        del image["width"], image["height"]
        image["file_name"] = "C:\\pictures\\" + image["file_name"]
    for annotation in data["annotations"]:
        annotation["image_id"] = str(annotation["image_id"])
        annotation["iscrowd"] = "0"
    (tmp_path / "all.json").write_text(json.dumps(data), encoding="utf-8-sig")
    found = convert_data(tmp_path / "all.json", tmp_path / "out").data
    assert sum(sum(found.count(split).values()) for split in found.splits) == 6
    assert not +found.left_out


def test_pictures_without_annotations_are_counted(tmp_path):
    root = labelled_data.write_voc(tmp_path / "data")
    (root / "Annotations/e.xml").unlink()
    assert read_data(root).left_out["pictures without an annotation file"] == 1


def test_nothing_is_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist; give the folder"):
        read_data(tmp_path / "nowhere")


@pytest.mark.parametrize("shares", [(0, 0), (1.2, 0), (0.6, 0.5)])
def test_shares_that_leave_nothing_are_refused(tmp_path, shares):
    with pytest.raises(ValueError, match="shares that leave pictures to train on"):
        convert_data(tmp_path, tmp_path, val_share=shares[0], test_share=shares[1])


@pytest.mark.parametrize("write", [labelled_data.write_coco, labelled_data.write_voc])
def test_annotations_of_others_are_not_written_over(tmp_path, write):
    """The folder of the data is a likely one to write to, and holds what was labelled."""
    root = write(tmp_path / "data")
    (root / "annotations").mkdir(exist_ok=True)
    for file in (root / "annotations").glob("instances_*"):
        split = file.stem[len("instances_") : -len("2017")]
        file.rename(file.with_name(f"{split}.json"))
        (root / f"{split}2017").rename(root / split)
    (root / "annotations/test.json").write_text('{"mine": 1}')
    before = fingerprint(root)
    with pytest.raises(ValueError, match=r"write to .*, but .*(train|test).json is.*give another"):
        convert_data(root, root)
    assert fingerprint(root) == before


@pytest.mark.parametrize("form", ["coco", "voc"])
def test_nothing_is_written_beside_the_labels_of_the_data(tmp_path, form):
    """With other JSON files there the folder would be two data sets from then on."""
    root = getattr(labelled_data, f"write_{form}")(tmp_path / "data")
    if form == "voc":
        (root / "Annotations").rename(root / "annotations")
    before = fingerprint(root)
    with pytest.raises(
        ValueError, match=r"apart from the data, but .*annotations has its .*give an"
    ):
        convert_data(root, root)
    assert fingerprint(root) == before
    out = root / "converted"
    convert_data(root, out)
    # What a training leaves there is no label.
    (out / "annotations/training.json").write_text("{}")
    convert_data(root, out)


def test_a_conversion_is_not_written_over_itself(tmp_path):
    out = tmp_path / "out"
    convert_data(labelled_data.write_voc(tmp_path / "data"), out)
    before = fingerprint(out)
    with pytest.raises(ValueError, match=r"apart from the data, but .*out/annotations/train.json"):
        convert_data(out, out)
    assert fingerprint(out) == before


def test_a_second_conversion_leaves_nothing_of_the_first(tmp_path):
    root = labelled_data.write_masks(tmp_path / "data")
    out = tmp_path / "out"
    first = convert_data(root, out, val_share=0.3, test_share=0.3, seed=1)
    assert first.files["test"].is_file()
    # Interrupted before its last file was written.
    (out / "annotations/conversion.json").unlink()
    second = convert_data(root, out)
    assert sorted(file.name for file in (out / "annotations").iterdir()) == [
        "conversion.json",
        "train.json",
        "val.json",
    ]
    assert list(second.files) == ["train", "val"]


def test_a_conversion_that_is_refused_writes_nothing(tmp_path, monkeypatch):
    root = labelled_data.write_voc(tmp_path / "data")
    convert_data(root, tmp_path / "out")
    before = fingerprint(tmp_path / "out")
    make = conversion.make_coco

    def refuse_val(path, *args, **more):
        if path.stem == "val":
            raise ValueError("val cannot be written")
        return make(path, *args, **more)

    monkeypatch.setattr(conversion, "make_coco", refuse_val)
    (root / "Annotations/a.xml").write_text(labelled_data.voc_xml("a", [("bar", 1, 1, 20, 20)]))
    with pytest.raises(ValueError, match="val cannot be written"):
        convert_data(root, tmp_path / "out")
    assert fingerprint(tmp_path / "out") == before


def test_the_share_of_validation_is_of_all_pictures(tmp_path):
    """Beside a test set that is drawn it is of the rest; one that is given is not of the rest."""
    root = labelled_data.write_coco(tmp_path / "data")
    (root / "annotations/instances_val2017.json").rename(root / "annotations/test.json")
    (root / "val2017").rename(root / "test")
    data = convert_data(root, tmp_path / "out", val_share=0.3, test_share=0.6).data
    assert {split: len(found) for split, found in data.splits.items()} == {
        "train": 3,
        "val": 1,
        "test": 1,
    }


def test_a_split_without_pictures_counts_as_missing(tmp_path):
    root = labelled_data.write_coco(tmp_path / "data")
    data = labelled_data.coco_data([])
    (root / "annotations/instances_test2017.json").write_text(json.dumps(data))
    for picture in (root / "val2017").iterdir():
        picture.write_bytes(b"no picture")
    found = convert_data(root, tmp_path / "out", val_share=0.4)
    assert list(found.files) == ["train", "val"]
    assert found.drawn == ("val",)
    for split in ("val", "test"):
        assert (
            f"{split} has no picture that can be used, and counts as missing." in found.data.notes
        )


def test_what_a_prediction_has_drawn_is_not_data(tmp_path):
    root = labelled_data.write_voc(tmp_path / "data")
    before = read_data(root)
    drawn = root / "A detections"
    labelled_data.write_pictures(drawn)
    for content in ('[{"image_id": 1, "file_name": "a.jpg"}]', "[]"):
        (drawn / "detections.json").write_text(content)
        assert read_data(root) == before
        assert len(list_files(root, drawn=True)) == 2 * len(list_files(root))
    # Given by itself it is meant, and labels in it are no pictures.
    assert list_files(drawn)
    assert drawn / "detections.json" in list_files(root, frozenset({".json"}))
    # Detections of others, annotations, and what cannot be read say nothing of the pictures.
    for content in ('[{"image_id": 1, "score": 0.5}]', ' {"images": [], "file_name": "image_id"}'):
        (drawn / "detections.json").write_text(content)
        assert len(list_files(root)) == 10
    (drawn / "detections.json").unlink()
    (drawn / "detections.json").symlink_to("nowhere")
    assert len(list_files(root)) == 10
