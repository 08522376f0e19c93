"""A folder of COCO: which of its files is for which split, and where its pictures lie."""

from __future__ import annotations

import dataclasses
import math
import os
from collections import Counter
from pathlib import Path, PurePosixPath

import numpy as np

from mmdet_rank.files import load_json

from .coco import check_coco
from .fields import is_number, namer, refuse_other_than_objects
from .pictures import SPLITS, common_root, fits_its_picture, list_files, open_picture
from .records import DataSet, Picture, add_object
from .run_lengths import check_run_lengths
from .segmentations import MaskFault, all_polygons_sound, sound_polygons

__all__ = ["find_coco", "read_coco_folder"]

FORM = "COCO"
_JSON = frozenset({".json"})
_LISTS = ("images", "annotations", "categories")
_ANY_SIZE = 1_000_000
#: Of the objects of COCO, one in a hundred is a crowd.
_MANY_CROWDS = 0.1
_OUTLINE = 6  # numbers of three points
#: Reasons of `DataSet.left_out`.
_NO_MASK = "masks without three points, or of another form or size (the boxes count)"
_DAMAGED = "objects whose mask is damaged (numbers not finite or missing, or that do not add up)"


def find_coco(root: Path) -> list[Path]:
    """List the annotation files of COCO in a folder, or the file itself.

    Result files, captions and other JSON are not among them.
    """
    if root.is_file():
        # Given by itself it is meant, and reading it says what is wrong with it.
        return [root] if root.suffix.lower() == ".json" else []
    return [file for file in list_files(root, _JSON) if _is_coco(file)]


def read_coco_folder(root: Path) -> DataSet:
    """Read annotation files of COCO with the pictures that they name.

    Splits go by the names of the files or of their folders: ``instances_train2017.json``,
    ``annotations/val.json``, ``valid/_annotations.coco.json``. Objects with ``iscrowd`` are
    ignored, but for masks of CVAT, and where all objects have it. The ids of the categories stay.

    Args:
        root: A folder, or one annotation file, which is then split.

    Raises:
        ValueError: If the files are not COCO, differ in their categories, or name pictures that
            are not there.
    """
    files = find_coco(root)
    folder = root if root.is_dir() else root.parent
    left_out: Counter[str] = Counter()
    notes: list[str] = []
    categories: dict[str, int] = {}
    splits: dict[str, list[Picture]] = {}
    for file in files:
        split = _split_of(file, folder) if len(files) > 1 else "train"
        if split is None:
            notes.append(f"{file} is not used: its name says neither train, val nor test.")
            continue
        ids, pictures = _read_file(file, folder, left_out, notes)
        if categories and ids != categories:
            raise ValueError(
                f"Expected the same categories in all files, but {file} has {ids} and the others "
                f"have {categories}; write them with the same names and ids."
            )
        categories = ids
        if split in splits:
            raise ValueError(
                f"Expected one annotation file for {split} in {folder}, but found several, the "
                f"last of them {file}; give the folder of one data set, or one file."
            )
        splits[split] = pictures
    if "train" not in splits:
        raise ValueError(
            f"Expected an annotation file for training in {folder}, but got "
            f"{[str(file) for file in files]}; name one of them train.json, or give one file."
        )
    _judge_crowds(splits, notes)
    # Pictures beside annotations/ are above an annotation file that is given by itself.
    pictures = (picture.file for pictures in splits.values() for picture in pictures)
    return DataSet(FORM, common_root(folder, pictures), categories, splits, left_out, notes)


def _is_coco(file: Path) -> bool:
    try:
        data = load_json(file)
    except (OSError, ValueError):
        return False
    return isinstance(data, dict) and all(isinstance(data.get(key), list) for key in _LISTS)


def _split_of(file: Path, folder: Path) -> str | None:
    words = [file.stem, *reversed(file.relative_to(folder).parts[:-1])]
    for word in words:
        text = word.lower()
        for key in sorted(SPLITS, key=len, reverse=True):
            if key in text:
                return SPLITS[key]
    return None


def _read_file(
    file: Path, folder: Path, left_out: Counter[str], notes: list[str]
) -> tuple[dict[str, int], list[Picture]]:
    data = load_json(file)
    if not isinstance(data, dict) or not all(isinstance(data.get(key), list) for key in _LISTS):
        if isinstance(data, dict) and "shapes" in data:
            raise ValueError(
                f"Expected annotations of a data set, but {file} is LabelMe's of one picture; give "
                "the folder that holds all of them."
            )
        check_coco(data, str(file))
    refuse_other_than_objects(data["images"], "image", str(file))
    places = _places(file, folder)
    info = data.get("info")
    root = Path(str(info.get("root") or "")) if isinstance(info, dict) else Path()
    if root.is_absolute() and root.is_dir():
        places.append(root)  # Converted data names the folder that its pictures stayed in.
    found_there: list[tuple[dict, Picture]] = []
    missing = []
    names = [str(image.get("file_name", "")).replace("\\", "/") for image in data["images"]]
    alike = Counter(PurePosixPath(name).name for name in set(names))
    for image, name in zip(data["images"], names, strict=True):
        path = _find(name, places, alike)
        if path is None:
            missing.append(name)
        picture = None if path is None else open_picture(path, left_out)
        size = image.get("width"), image.get("height")
        if picture is None or not fits_its_picture(picture, size, left_out):
            # Of a picture that is not used the size does not matter, and may be missing.
            image |= {key: image.get(key) or _ANY_SIZE for key in ("width", "height")}
            continue
        found_there.append((image, picture))
        image |= {"width": picture.width, "height": picture.height}
    marked = Counter(
        annotation["image_id"]
        for annotation in data["annotations"]
        if isinstance(annotation, dict)
        and isinstance(annotation.get("image_id"), (int, float, str))
    )
    _fill_areas(data["annotations"])
    if missing and not found_there:
        raise ValueError(
            f"Expected the pictures of {file} beside it, but none of {len(missing)} is there, such "
            f"as {missing[0]}; looked in {', '.join(map(str, places[:4]))}."
        )
    left_out["pictures that are not there"] += len(missing)
    found = check_coco(data, str(file), in_place=True)
    left_out.update({f"objects: {reason}": n for reason, n in found.left_out.items()})
    mended = (f"{what}: {number} times." for what, number in found.mended.items())
    notes += [f"{file.name}: {note}" for note in (*mended, *found.hints)]
    # The check may have mended the ids.
    pictures = {image["id"]: picture for image, picture in found_there}
    classes = {category["id"]: category["name"] for category in found.dataset["categories"]}
    entries = found.dataset["annotations"]
    here = [entry for entry in entries if entry["image_id"] in pictures]
    left_out["objects of a picture that is not there"] += len(entries) - len(here)
    from_cvat = 0
    for annotation in _without_damaged_masks(here, pictures, left_out):
        crowd = annotation["iscrowd"] == 1
        if crowd and _is_mask_of_cvat(annotation):
            crowd = False
            from_cvat += 1
        x, y, width, height = annotation["bbox"]
        more = {key: annotation[key] for key in ("segmentation", "area") if annotation.get(key)}
        add_object(
            pictures[annotation["image_id"]],
            classes[annotation["category_id"]],
            (x, y, x + width, y + height),
            left_out,
            ignored=crowd,
            **more,
        )
    if from_cvat:
        notes.append(
            f"{file.name}: {from_cvat} masks have iscrowd 1, which CVAT writes for every mask: "
            "they are taken as objects; take attributes out of those that are crowds."
        )
    for number, picture in pictures.items():
        picture.marked = marked[number]
    return {name: number for number, name in classes.items()}, list(pictures.values())


def _is_mask_of_cvat(annotation: dict) -> bool:
    """Tell whether an object is a mask of CVAT, which writes ``iscrowd`` for all of them.

    Those are what is drawn with its brush or by a model such as SAM. They have run lengths as the
    crowds of COCO have, but CVAT writes ``attributes`` with ``occluded`` too, and COCO does not.
    """
    attributes = annotation.get("attributes")
    return (
        isinstance(annotation.get("segmentation"), dict)
        and isinstance(attributes, dict)
        and "occluded" in attributes
    )


def _judge_crowds(splits: dict[str, list[Picture]], notes: list[str]) -> None:
    """Take crowds for objects where there is nothing else, and tell where there are many.

    Some tools write ``iscrowd`` for every mask. Where these are all, nothing could be trained
    otherwise. Beside other objects nothing tells them from crowds, which cover many objects each
    and would be learnt as one: they stay, for what is ignored spoils a detector less than what is
    wrong.
    """
    pictures = [picture for members in splits.values() for picture in members]
    number = sum(len(picture.objects) for picture in pictures)
    crowds = sum(labelled.ignored for picture in pictures for labelled in picture.objects)
    if crowds and crowds == number:
        for picture in pictures:
            picture.objects = [dataclasses.replace(o, ignored=False) for o in picture.objects]
        notes.append(
            f"All {number} objects have iscrowd 1, which CVAT writes for every mask: they are "
            "taken as objects."
        )
    elif crowds > _MANY_CROWDS * number:
        notes.append(
            f"{crowds} of {number} objects have iscrowd 1: they are neither trained nor counted. "
            "CVAT writes it for every mask drawn with the brush; if they are objects, set iscrowd "
            "to 0."
        )


def _without_damaged_masks(
    entries: list[dict], pictures: dict[int | str, Picture], left_out: Counter[str]
) -> list[dict]:
    """Entries whose mask can be used or that have none; the others are counted.

    What is wrong with a mask is told here, of the user's own file: a detector of masks would refuse
    the converted one, and JSON has no NaN. An object whose outline or run lengths are damaged is
    left out, as in other forms. What is no mask of its picture is taken off its object, whose box
    counts, for tools write the corners of a box as ``segmentation``, and other things.

    Args:
        entries: Objects; their ``segmentation`` may be changed.
        pictures: By ``image_id``.
        left_out: Counts by reason.
    """
    outlined, encoded = [], []
    for entry in (entry for entry in entries if entry.get("segmentation")):
        mask = entry["segmentation"]
        picture = pictures[entry["image_id"]]
        if isinstance(mask, list):
            outlined.append(entry)
        elif isinstance(mask, dict) and mask.get("size") == [picture.height, picture.width]:
            encoded.append(entry)
        else:
            entry["segmentation"] = None
            left_out[_NO_MASK] += 1
    damaged: set[int] = set()
    # The usual case is looked at as a whole, for there may be a million.
    if not all_polygons_sound([entry["segmentation"] for entry in outlined]):
        damaged |= {id(entry) for entry in outlined if not _mend_outline(entry, left_out)}
    if not _add_up(encoded, pictures):
        damaged |= {id(entry) for entry in encoded if not _add_up([entry], pictures)}
    left_out[_DAMAGED] += len(damaged)
    return [entry for entry in entries if id(entry) not in damaged]


def _mend_outline(entry: dict, left_out: Counter[str]) -> bool:
    """Take polygons of no use off an object; tell whether its mask is not damaged."""
    mask = entry["segmentation"]
    try:
        polygons = sound_polygons(mask)
        if polygons.sound:
            left_out["parts of masks without an inside"] += polygons.dropped
            entry["segmentation"] = polygons.sound
            return True
        if any(len(polygon) >= _OUTLINE for polygon in mask):
            return False
    except MaskFault:
        pass
    entry["segmentation"] = None
    # Nothing was meant by [[]].
    left_out[_NO_MASK] += any(mask)
    return True


def _add_up(entries: list[dict], pictures: dict[int | str, Picture]) -> bool:
    """Tell whether the run lengths of all entries are sound."""
    found = [pictures[entry["image_id"]] for entry in entries]
    sizes = np.array([(picture.width, picture.height) for picture in found], dtype=np.float64)
    try:
        check_run_lengths(entries, range(len(entries)), sizes, namer("annotation", "these"))
    except ValueError:
        return False
    return True


def _fill_areas(annotations: list) -> None:
    """Give objects the area of their box where the file has none, or one that cannot be."""
    for annotation in annotations:
        box = annotation.get("bbox") if isinstance(annotation, dict) else None
        if not isinstance(box, list) or len(box) != 4 or not all(map(is_number, box)):
            continue
        area = annotation.get("area")
        if area is None or (is_number(area) and not 0 < area < math.inf):
            annotation["area"] = box[2] * box[3]


def _places(file: Path, folder: Path) -> list[Path]:
    """Folders that the names of an annotation file may be relative to, the likeliest first."""
    stem = file.stem.removeprefix("instances_").removeprefix("person_keypoints_")
    bases = [file.parent, *file.parent.parents]
    bases = bases[: bases.index(folder) + 1] if folder in bases else bases[:1]
    if folder not in bases or folder == file.parent:
        bases.append(folder.parent)
    places = []
    for base in bases:
        for inner in ("", "images", "img", "data", stem, f"images/{stem}", "JPEGImages"):
            place = base / inner
            if place.is_dir() and place not in places:
                places.append(place)
    return places


def _find(name: str, places: list[Path], alike: Counter[str]) -> Path | None:
    """The file that a name means, the whole of it or, of another machine's path, its end.

    Args:
        name: Of a picture, perhaps with folders.
        places: Folders that it may be relative to.
        alike: How many pictures have the same name without folders.
    """
    parts = PurePosixPath(name).parts
    for start in range(len(parts)):
        end = PurePosixPath(*parts[start:])
        # Without its folders it may be another picture.
        if start and len(end.parts) == 1 and alike[end.name] > 1:
            break
        for place in places:
            if (place / end).is_file():
                return Path(os.path.abspath(place / end))
    return None
