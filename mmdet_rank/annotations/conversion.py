"""From whatever a labelling tool wrote to COCO files, beside which the data stays as it is."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mmdet_rank.files import write_json

from .coco_folder import find_coco, read_coco_folder
from .labelme import find_labelme, read_labelme
from .masks import find_masks, read_masks
from .pictures import CONVERSION, is_dark
from .reading import make_coco
from .records import DataSet, Picture
from .split import split_pictures
from .unrecognised import describe_unrecognised
from .voc import find_voc, read_voc
from .yolo import find_yolo, read_yolo

__all__ = ["Conversion", "convert_data", "read_data"]

#: Each form with what finds it and what reads it, the plainest sign first.
FORMS: dict[str, tuple[Callable, Callable]] = {
    "COCO": (find_coco, read_coco_folder),
    "YOLO": (find_yolo, read_yolo),
    "Pascal VOC": (find_voc, read_voc),
    "LabelMe": (find_labelme, read_labelme),
    "masks": (find_masks, read_masks),
}
SPLITS = ("train", "val", "test")
#: Ends of labels' names, and files that a conversion and a training write beside their annotations.
_LABELS = (".json", ".xml", ".txt", ".csv")
_BESIDE = (CONVERSION.name, "training.json")
#: About so many pictures of 16 bits are decoded.
_LOOKED_AT = 50
#: A reason of `DataSet.left_out`.
UNUSABLE = "pictures none of whose objects can be used, which are left out too"
#: How the files of a conversion begin.
_OURS = re.compile(r'\{\s*"info":\s*\{\s*"description":\s*"(train|val|test), from [^"]*",\s*"root"')


@dataclass(frozen=True)
class Conversion:
    """Outcome of a conversion.

    Attributes:
        given: What the user named, a whole path.
        data: What was read, split.
        files: The COCO file of each split.
        drawn: Splits that were not given but drawn.
        seed: What they were drawn by.
    """

    given: Path
    data: DataSet
    files: dict[str, Path]
    drawn: tuple[str, ...]
    seed: int

    def describe(self) -> str:
        """Sentences about what was found, and what was left out and why."""
        folder = self.given.parent if self.given.is_file() else self.given
        elsewhere = not self.data.root.is_relative_to(folder)
        where = f"; its pictures lie in {self.data.root}" if elsewhere else ""
        lines = [f"Read {self.given} as {self.data.form}{where}."]
        for split, pictures in self.data.splits.items():
            counts = self.data.count(split)
            listed = ", ".join(f"{number} {name}" for name, number in counts.items())
            how = f" (drawn with seed {self.seed})" if split in self.drawn else ""
            number = f"{len(pictures)} picture{'s' * (len(pictures) != 1)}"
            lines.append(f"{split}{how}: {number} with {listed}.")
        ignored = _count_ignored(self.data)
        if ignored:
            lines.append(
                f"{ignored} objects are marked to be ignored: neither trained nor counted."
            )
        left = [f"{number} {reason}" for reason, number in self.data.left_out.items()]
        if left:
            lines.append(f"Left out or changed: {'; '.join(left)}.")
        return "\n".join([*lines, *self.data.notes])


def check_there(root: str | Path) -> None:
    """Refuse a data set that does not exist.

    Raises:
        FileNotFoundError: There is no such folder or file.
    """
    if not Path(root).exists():
        raise FileNotFoundError(
            f"Expected a folder with a data set, but {os.path.abspath(root)} does not exist; give "
            "the folder that holds the pictures and their annotations."
        )


def read_data(root: str | Path) -> DataSet:
    """Read a data set in whatever form it is.

    Args:
        root: A folder; or one file, an annotation file of COCO or a ``data.yaml`` of YOLO.

    Raises:
        FileNotFoundError: If there is no such folder or file.
        ValueError: If nothing in it is recognised, or nothing of it can be used.
    """
    # Readers get a whole path. Links are not followed: the files are those that the user named.
    root = Path(os.path.abspath(root))
    check_there(root)
    found = [name for name, (find, _) in FORMS.items() if find(root)]
    if not found:
        raise ValueError(describe_unrecognised(root))
    data: DataSet = FORMS[found[0]][1](root)
    _refuse_unwritable_names(data)
    _join_doubles(data)
    _drop_unusable(data)
    _part_splits(data)
    data.left_out = +data.left_out
    _note_dark(data)
    alike = defaultdict(list)
    for name in data.classes:
        alike[name.casefold()].append(name)
    for names in alike.values():
        if len(names) > 1:
            data.notes.append(
                f"{' and '.join(names)} count as classes of their own; if they are one, give them "
                "one name in the annotations."
            )
    if len(found) > 1:
        data.notes.append(
            f"There is {' and '.join(found[1:])} too, which is not used; to use it, give a folder "
            f"without the {found[0]} files."
        )
    if not any(sum(data.count(split).values()) for split in data.splits):
        reasons = [f"{n} {reason}" for reason, n in data.left_out.items()]
        ignored = _count_ignored(data)
        if ignored:
            reasons.append(
                f"{ignored} objects are marked to be ignored (difficult, iscrowd); take the mark "
                "off those to be trained on"
            )
        raise ValueError(
            f"Expected objects in the annotations of {root}, but none can be used: "
            f"{'; '.join(reasons) or 'there is not one'}."
        )
    return data


def convert_data(
    root: str | Path,
    out: str | Path,
    *,
    seed: int = 0,
    val_share: float = 0.2,
    test_share: float = 0.0,
) -> Conversion:
    """Write ``annotations/train.json``, ``val.json`` and, where there is a test set, ``test.json``.

    The pictures stay where they are: the files name them relative to the data's root, which stands
    in ``info.root``. A split that the data has stays as it is; a validation set that it lacks is
    drawn from the training set by `split_pictures`.

    Args:
        root: As for `read_data`.
        out: Folder for ``annotations/``.
        seed: Of the splits that have to be drawn.
        val_share: Of the training pictures, for validation.
        test_share: Of all pictures, for a test set where the data has none; 0 for no test set.

    Raises:
        FileNotFoundError: If there is no such folder or file.
        ValueError: If the data cannot be used, is too small to be split, or a share is not between
            0 and 1.
    """
    if not 0 < val_share < 1 or not 0 <= test_share < 1 or val_share + test_share >= 1:
        raise ValueError(
            f"Expected shares that leave pictures to train on, but got {val_share} for validation "
            f"and {test_share} for testing; give shares below 1 that together leave some."
        )
    data = read_data(root)
    drawn = []
    train = data.splits.get("train", [])
    if not train or ("val" not in data.splits and len(train) < 2):
        raise ValueError(
            f"Expected two pictures or more to train and to measure on in {root}, but got "
            f"{len(train)} for training; label more, or check its splits."
        )
    if test_share and "test" not in data.splits:
        train, data.splits["test"] = split_pictures(train, test_share, seed)
        drawn.append("test")
    if "val" not in data.splits:
        left = 1 - test_share if "test" in drawn else 1
        train, data.splits["val"] = split_pictures(train, val_share / left, seed)
        drawn.append("val")
    data.splits["train"] = train
    # By name, so that every form of the same data gives the same files.
    data.splits = {
        split: sorted(data.splits[split], key=lambda picture: (picture.file.name, picture.file))
        for split in SPLITS
        if split in data.splits
    }
    _note_missing(data)
    given = Path(os.path.abspath(root))
    places = {split: Path(out) / "annotations" / f"{split}.json" for split in SPLITS}
    contents = {places[split]: _content(places[split], data, split) for split in data.splits}
    _refuse_other_files(given, data, list(places.values()))
    for path, content in contents.items():
        write_json(path, content, indent=None)
    # That of an earlier conversion would be taken for a split of this one.
    for split in set(SPLITS) - set(data.splits):
        places.pop(split).unlink(missing_ok=True)
    write_json(
        Path(out) / CONVERSION,
        {
            "form": data.form,
            "root": str(data.root),
            "classes": data.classes,
            "drawn": drawn,
            "seed": seed,
            "pictures": {split: len(pictures) for split, pictures in data.splits.items()},
            "objects": {split: data.count(split) for split in data.splits},
            "left_out": dict(data.left_out),
        },
    )
    return Conversion(given, data, {s: places[s] for s in data.splits}, tuple(drawn), seed)


def _count_ignored(data: DataSet) -> int:
    return sum(
        labelled.ignored
        for pictures in data.splits.values()
        for picture in pictures
        for labelled in picture.objects
    )


def _refuse_unwritable_names(data: DataSet) -> None:
    """Refuse file names that are not UTF-8 (archives of Windows), which JSON cannot hold."""
    for picture in (picture for pictures in data.splits.values() for picture in pictures):
        try:
            str(picture.file).encode()
        except UnicodeEncodeError:
            raise ValueError(
                f"Expected names of files in UTF-8, but got {str(picture.file)!a}; rename it "
                "and those like it (convmv does, for whole folders)."
            ) from None


def _join_doubles(data: DataSet) -> None:
    """Put together the objects of pictures that are annotated twice within a split."""
    for split, pictures in data.splits.items():
        first: dict[Path, Picture] = {}
        for picture in pictures:
            known = first.setdefault(picture.file, picture)
            if known is not picture:
                there = {(labelled.category, labelled.box) for labelled in known.objects}
                known.objects += [o for o in picture.objects if (o.category, o.box) not in there]
                known.marked += picture.marked
                data.left_out["pictures annotated twice, whose objects were put together"] += 1
        data.splits[split] = list(first.values())


def _note_dark(data: DataSet) -> None:
    """Tell of pictures that the detector, which sees 8 bits, would see nearly black."""
    deep = [picture for pictures in data.splits.values() for picture in pictures if picture.deep]
    looked_at = deep[:: max(len(deep) // _LOOKED_AT, 1)]
    dark = sum(is_dark(picture.file) for picture in looked_at)
    if dark:
        data.notes.append(
            f"{dark} of {len(looked_at)} pictures of 16 bits that were looked at use a sixteenth "
            "of them or less: the detector sees them nearly black; write them with 8 bits."
        )


def _drop_unusable(data: DataSet) -> None:
    """Take pictures away whose objects all had to be left out.

    They would be trained on, and measured, as pictures without objects.
    """
    for split, pictures in data.splits.items():
        usable = [picture for picture in pictures if picture.objects or not picture.marked]
        data.left_out[UNUSABLE] += len(pictures) - len(usable)
        data.splits[split] = usable


def _part_splits(data: DataSet) -> None:
    """Take pictures that are measured on out of training, and splits without pictures away."""
    train = {picture.file for picture in data.splits.get("train", [])}
    for split in ("val", "test"):
        files = {picture.file for picture in data.splits.get(split, [])}
        if not files:
            if data.splits.pop(split, None) is not None:
                data.notes.append(
                    f"{split} has no picture that can be used, and counts as missing."
                )
        elif train and train <= files:
            del data.splits[split]
            data.notes.append(f"{split} has all pictures of train, and counts as missing.")
        elif train & files:
            data.notes.append(
                f"{len(train & files)} pictures of train are in {split} too: they are not trained "
                "on."
            )
            data.splits["train"] = [p for p in data.splits["train"] if p.file not in files]
            train -= files
    files = {picture.file for picture in data.splits.get("val", [])}
    both = sum(picture.file in files for picture in data.splits.get("test", []))
    if both:
        data.notes.append(
            f"{both} pictures of test are in val too, by which checkpoints are chosen."
        )


def _refuse_other_files(given: Path, data: DataSet, places: list[Path]) -> None:
    """Refuse to write over annotations that were read, or that no conversion wrote."""
    read = find_coco(given) if data.form == "COCO" else []
    folder = places[0].parent
    own = {*(path.name for path in places), *_BESIDE}
    # Labels of another form there would be taken for COCO from then on.
    there = read if data.form == "COCO" else folder.glob("*") if folder.is_dir() else []
    beside = [
        file
        for file in there
        if file.suffix.lower() in _LABELS
        and file.name not in own
        and folder.is_dir()
        and file.parent.samefile(folder)
    ]
    if beside:
        raise ValueError(
            f"Expected a folder to write to apart from the data, but {folder} has its "
            f"{beside[0].name}; give another folder, such as {folder.parent / 'converted'}."
        )
    for path in (path for path in places if path.is_file()):
        if any(path.samefile(file) for file in read):
            raise ValueError(
                f"Expected a folder to write to apart from the data, but {path} is an annotation "
                f"file of it; give another folder, such as {path.parent.parent / 'converted'}."
            )
        with path.open(encoding="utf-8", errors="replace") as file:
            if not _OURS.match(file.read(1000)):
                raise ValueError(
                    f"Expected a folder to write to without annotations of others, but {path} is "
                    "there, and no conversion wrote it; give another folder."
                )


def _note_missing(data: DataSet) -> None:
    """Tell which classes have no objects to learn from or to measure on."""
    for split, outcome in (("train", "learnt"), ("val", "measured")):
        missing = [name for name, number in data.count(split).items() if not number]
        if missing:
            data.notes.append(
                f"{', '.join(missing)}: no object in the pictures of {split}, so not {outcome}."
            )


def _content(path: Path, data: DataSet, split: str) -> dict:
    images, annotations = [], []
    for number, picture in enumerate(data.splits[split], start=1):
        name = picture.file.relative_to(data.root).as_posix()
        images.append(
            {"id": number, "file_name": name, "width": picture.width, "height": picture.height}
        )
        for labelled in picture.objects:
            box = [round(value, 3) for value in labelled.box]
            annotation = {
                "image_id": number,
                "category_id": data.categories[labelled.category],
                "bbox": box,
                "area": round(labelled.area or box[2] * box[3], 3),
                "iscrowd": int(labelled.ignored),
            }
            if labelled.segmentation is not None:
                annotation["segmentation"] = labelled.segmentation
            annotations.append(annotation)
    categories = [{"id": data.categories[name], "name": name} for name in data.classes]
    info = {"description": f"{split}, from {data.form}", "root": str(data.root)}
    return make_coco(path, images, annotations, categories, info=info)
