"""A folder of COCO: which of its files is for which split, and where its pictures lie."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path, PurePosixPath

from mmdet_rank.evaluation.coco_files import load_json

from .pictures import SPLITS, list_files, open_picture
from .records import DataSet, Picture, add_object

__all__ = ["find_coco", "read_coco_folder"]

FORM = "COCO"
_JSON = frozenset({".json"})
_LISTS = ("images", "annotations", "categories")


def find_coco(root: Path) -> list[Path]:
    """List the annotation files of COCO in a folder, or the file itself.

    Result files, captions and other JSON are not among them.
    """
    if root.is_file():
        return [root] if root.suffix == ".json" and _is_coco(root) else []
    return [file for file in list_files(root, _JSON) if _is_coco(file)]


def read_coco_folder(root: Path) -> DataSet:
    """Read annotation files of COCO with the pictures that they name.

    Splits go by the names of the files or of their folders: ``instances_train2017.json``,
    ``annotations/val.json``, ``valid/_annotations.coco.json``. Objects with ``iscrowd`` are
    ignored, and the ids of the categories stay.

    Args:
        root: A folder, or one annotation file, which is then split.

    Raises:
        ValueError: If files have other categories than each other, are no COCO, or name pictures
            that are not there.
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
        data = load_json(file)
        ids = _categories(data, file)
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
        splits[split] = _read_file(data, file, folder, left_out)
    if "train" not in splits:
        raise ValueError(
            f"Expected an annotation file for training in {folder}, but got "
            f"{[str(file) for file in files]}; name one of them train.json, or give one file."
        )
    # Pictures beside annotations/ are above an annotation file that is given by itself.
    root = folder
    for picture in (picture for pictures in splits.values() for picture in pictures):
        while not picture.file.is_relative_to(root):
            root = root.parent
    return DataSet(FORM, root, categories, splits, left_out, notes)


def _is_coco(file: Path) -> bool:
    try:
        data = json.loads(file.read_text(encoding="utf-8-sig"))
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


def _categories(data: dict, file: Path) -> dict[str, int]:
    names = [str(category.get("name")) for category in data["categories"]]
    doubled = [name for name, number in Counter(names).items() if number > 1]
    if doubled:
        entries = [c for c in data["categories"] if str(c.get("name")) in doubled]
        raise ValueError(
            f"Expected categories with distinct names in {file}, but {doubled[0]!r} occurs twice: "
            f"{entries}; remove the one without objects."
        )
    return {str(category["name"]): category["id"] for category in data["categories"]}


def _read_file(data: dict, file: Path, folder: Path, left_out: Counter[str]) -> list[Picture]:
    names = {category["id"]: str(category["name"]) for category in data["categories"]}
    places = _places(file, folder)
    pictures: dict[object, Picture] = {}
    missing = []
    for image in data["images"]:
        name = str(image.get("file_name", "")).replace("\\", "/")
        path = _find(name, places)
        if path is None:
            missing.append(name)
            continue
        picture = open_picture(path, left_out)
        if picture is None:
            continue
        pictures[image["id"]] = picture
        if [image.get("width"), image.get("height")] != [picture.width, picture.height]:
            left_out["pictures of another size than their annotation states (theirs counts)"] += 1
    if missing and not pictures:
        raise ValueError(
            f"Expected the pictures of {file} beside it, but none of {len(missing)} is there, such "
            f"as {missing[0]}; looked in {', '.join(map(str, places[:4]))}."
        )
    left_out["pictures that are not there"] += len(missing)
    for annotation in data["annotations"]:
        picture = pictures.get(annotation.get("image_id"))
        name = names.get(annotation.get("category_id"))
        box = annotation.get("bbox")
        if picture is None or name is None:
            left_out["objects of a picture or category that is not in the file"] += 1
            continue
        try:
            x, y, width, height = map(float, box)
        except (TypeError, ValueError):
            left_out["objects without a name or a box"] += 1
            continue
        more = {key: annotation[key] for key in ("segmentation", "area") if annotation.get(key)}
        add_object(
            picture,
            name,
            (x, y, x + width, y + height),
            left_out,
            ignored=str(annotation.get("iscrowd", 0)) == "1",
            **more,
        )
    return sorted(pictures.values(), key=lambda picture: picture.file)


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


def _find(name: str, places: list[Path]) -> Path | None:
    if not name:
        return None
    # Tools that run on another machine write its whole path.
    for wanted in (name, PurePosixPath(name).name):
        for place in places:
            if (place / wanted).is_file():
                return Path(os.path.abspath(place / wanted))
    return None
