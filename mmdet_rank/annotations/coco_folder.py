"""A folder of COCO: which of its files is for which split, and where its pictures lie."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path, PurePosixPath

from mmdet_rank.files import load_json

from .coco import check_coco
from .fields import refuse_other_than_objects
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
        # Given by itself it is meant, and reading it says what is wrong with it.
        return [root] if root.suffix.lower() == ".json" else []
    return [file for file in list_files(root, _JSON) if _is_coco(file)]


def read_coco_folder(root: Path) -> DataSet:
    """Read annotation files of COCO with the pictures that they name.

    Splits go by the names of the files or of their folders: ``instances_train2017.json``,
    ``annotations/val.json``, ``valid/_annotations.coco.json``. Objects with ``iscrowd`` are
    ignored, and the ids of the categories stay.

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
        ids, pictures = _read_file(file, folder, left_out)
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


def _read_file(
    file: Path, folder: Path, left_out: Counter[str]
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
    for image in data["images"]:
        name = str(image.get("file_name", "")).replace("\\", "/")
        path = _find(name, places)
        if path is None:
            missing.append(name)
            continue
        picture = open_picture(path, left_out)
        if picture is None:
            continue
        found_there.append((image, picture))
        size = {"width": picture.width, "height": picture.height}
        if any(key in image and image[key] != value for key, value in size.items()):
            left_out["pictures of another size than their annotation states (theirs counts)"] += 1
        image |= size
    if missing and not found_there:
        raise ValueError(
            f"Expected the pictures of {file} beside it, but none of {len(missing)} is there, such "
            f"as {missing[0]}; looked in {', '.join(map(str, places[:4]))}."
        )
    left_out["pictures that are not there"] += len(missing)
    found = check_coco(data, str(file), in_place=True)
    left_out.update({f"objects: {reason}": n for reason, n in found.left_out.items()})
    # The check may have mended the ids.
    pictures = {image["id"]: picture for image, picture in found_there}
    names = {category["id"]: category["name"] for category in found.dataset["categories"]}
    for annotation in found.dataset["annotations"]:
        picture = pictures.get(annotation["image_id"])
        if picture is None:
            left_out["objects of a picture that is not there"] += 1
            continue
        x, y, width, height = annotation["bbox"]
        more = {key: annotation[key] for key in ("segmentation", "area") if annotation.get(key)}
        add_object(
            picture,
            names[annotation["category_id"]],
            (x, y, x + width, y + height),
            left_out,
            ignored=annotation["iscrowd"] == 1,
            **more,
        )
    return {name: number for number, name in names.items()}, list(pictures.values())


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
