"""YOLO: a text file for each picture, a line for each object, numbers as shares of the picture."""

from __future__ import annotations

import math
import os
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from .pictures import SPLITS, SUFFIXES, common_root, list_files, open_picture, split_of
from .records import DataSet, Picture, add_object
from .segmentations import polygon_area

__all__ = ["CLASS_LISTS", "find_yolo", "is_label_file", "read_yolo"]

FORM = "YOLO"
_TEXT = frozenset({".txt"})
CLASS_LISTS = ("classes.txt", "obj.names", "labels.txt")
_YAML = (".yaml", ".yml")
#: Of several files with names these are meant.
_HEADS = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
#: No share of a picture is as large, not even that of an object that reaches beyond it.
_PIXELS = 2.0


def find_yolo(root: Path) -> Path | None:
    """Find what names the classes: a ``.yaml`` with ``names``, or a list such as classes.txt.

    A list is a sign of YOLO only where there are labels too, for tools put it beside other forms.
    """
    if root.is_file():
        return root if root.suffix in _YAML and _names(root) else None
    heads = _heads(root)
    if heads:
        return heads[0]
    lists = _class_lists(root)
    alike = all(_names(file) == _names(lists[0]) for file in lists)
    labels = lists and any(is_label_file(file) for file in list_files(root, _TEXT))
    return lists[0] if labels and alike else None


def _heads(root: Path) -> list[Path]:
    """Files of a folder with names of classes, the likeliest first."""
    files = sorted([*root.glob("*.yaml"), *root.glob("*.yml")])
    named = [root / name for name in _HEADS if root / name in files]
    return [file for file in dict.fromkeys([*named, *files]) if _names(file)]


def _class_lists(root: Path) -> list[Path]:
    """Lists of classes of one name, in the folder or beside the labels, where LabelImg has them."""
    for place in ("", "labels/", "labels/*/", "*/labels/"):
        for name in CLASS_LISTS:
            files = [file for file in sorted(root.glob(place + name)) if file.is_file()]
            if files:
                return files
    return []


def read_yolo(root: Path) -> DataSet:
    """Read a YOLO data set.

    Lines are ``class x y width height`` (the middle of the box), or ``class x1 y1 x2 y2 x3 y3 ...``
    (a polygon, for instance segmentation); where the ``.yaml`` has ``kpt_shape``, keypoints behind
    a box are not read. The labels of ``.../images/a.jpg`` are
    ``.../labels/a.txt``, or ``a.txt`` beside the picture; a picture without labels has no objects.

    Args:
        root: Folder with ``data.yaml`` or ``classes.txt``, or the ``.yaml`` file itself.

    Raises:
        ValueError: If there are no pictures, or no label is a line of YOLO.
    """
    head = find_yolo(root)
    if head is None:
        raise ValueError(
            f"Expected data.yaml or classes.txt in {root}, but there is neither; add one."
        )
    folder = root if root.is_dir() else root.parent
    classes = _names(head)
    others = [file for file in _heads(folder) if _names(file) != classes]
    if root.is_dir() and head.name not in _HEADS and others:
        raise ValueError(
            f"Expected one file with the names of the classes in {root}, but {head.name} and "
            f"{others[0].name} name different ones; give the file itself."
        )
    unread = next((name for name in classes.values() if "\ufffd" in name), None)
    if unread is not None:
        raise ValueError(
            f"Expected names of classes in UTF-8 in {head}, but got {unread!r}; save the file as "
            "UTF-8."
        )
    doubled = [name for name, number in Counter(classes.values()).items() if number > 1]
    if doubled:
        places = [place for place, name in classes.items() if name == doubled[0]]
        raise ValueError(
            f"Expected classes with distinct names in {head}, but classes {places} are all called "
            f"{doubled[0]!r}; rename all but one, or give the objects one class."
        )
    left_out: Counter[str] = Counter()
    notes: list[str] = []
    splits: dict[str, list[Picture]] = {}
    used = set()
    boxes_alone = "kpt_shape" in _content(head)
    for split, files in _pictures(head, folder, left_out, notes).items():
        for file in files:
            labels = _label_file(file)
            if labels is not None:
                used.add(labels)
            picture = open_picture(file, left_out)
            if picture is None:
                continue
            if labels is None:
                left_out["pictures without a label file, taken as without objects"] += 1
            else:
                _read_labels(labels, picture, classes, left_out, boxes_alone)
            splits.setdefault(split, []).append(picture)
    if not used:
        raise ValueError(
            f"Expected labels of YOLO for the pictures of {folder}, but found none; they are "
            "looked for as .../labels/NAME.txt for .../images/NAME.jpg, or beside the picture."
        )
    beside = (file for place in {file.parent for file in used} for file in place.glob("*.txt"))
    alone = sum(file not in used and is_label_file(file) for file in beside)
    left_out.update({"label files without a picture": alone} if alone else {})
    categories = {name: place + 1 for place, name in sorted(classes.items())}
    files = (picture.file for pictures in splits.values() for picture in pictures)
    return DataSet(FORM, common_root(folder, files), categories, splits, left_out, notes)


def is_label_file(file: Path) -> bool:
    """Tell whether a text file begins with a line of YOLO."""
    if file.suffix.lower() not in _TEXT:
        return False
    with file.open(encoding="utf-8-sig", errors="replace") as lines:
        fields = next((line.split() for line in lines if line.strip()), [])
    try:
        return len([float(text) for text in fields]) >= 5
    except ValueError:
        return False


def _content(file: Path, loader: type[yaml.BaseLoader | yaml.SafeLoader] = yaml.SafeLoader) -> dict:
    """Content of a ``.yaml``; nothing where it is not one."""
    if file.suffix not in _YAML:
        return {}
    text = file.read_text(encoding="utf-8-sig", errors="replace")
    try:
        content = yaml.load(text, loader)
    except yaml.YAMLError:
        return {}
    return content if isinstance(content, dict) else {}


def _names(file: Path) -> dict[int, str]:
    """The names of the classes in a file by their number, none where it is not of YOLO."""
    if file.suffix not in _YAML:
        lines = file.read_text(encoding="utf-8-sig", errors="replace").splitlines()
        # A blank line is the name of a number that no object has.
        return {place: line.strip() for place, line in enumerate(lines) if line.strip()}
    # As texts: to YAML, on, off, yes and no are true and false, null is nothing, and 007 is 7.
    names = _content(file, yaml.BaseLoader).get("names")
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict):
        return {}
    try:
        return {
            int(place): str(None if name in ("", "~") else name) for place, name in names.items()
        }
    except (TypeError, ValueError):
        return {}


def _pictures(
    head: Path, folder: Path, left_out: Counter[str], notes: list[str]
) -> dict[str, list[Path]]:
    """Image files of each split: as the ``.yaml`` says, else lists, else the names of folders."""
    content = _content(head)
    base = str(content.get("path") or "")
    named = {key: _places(content, key, head) for key in SPLITS if content.get(key)}
    if not named:
        # Darknet's, and CVAT's.
        lists = {key: folder / f"{key}.txt" for key in SPLITS}
        named = {
            key: [file.name]
            for key, file in lists.items()
            if file.is_file() and not is_label_file(file)
        }
    found: dict[str, dict[Path, None]] = {}
    nowhere: list[tuple[str, str]] = []
    for key, place, path in _locate(named, [folder / base, folder]):
        files = [] if path is None else _list_pictures(path, base, folder, left_out)
        if not files and content.get(key):
            nowhere.append((key, place))
        found.setdefault(SPLITS[key], {}).update(dict.fromkeys(files))
    if any(found.values()):
        _judge_missing(nowhere, {split for split, files in found.items() if files}, head, notes)
    else:
        if named:
            listed = ", ".join(place for places in named.values() for place in places)
            notes.append(
                f"{head.name} says that pictures are in {listed}, where there are none: all "
                "pictures beside it are taken, splits by the names of their folders."
            )
        found = {}
        for path in list_files(folder, SUFFIXES):
            found.setdefault(split_of(path, folder) or "train", {})[path] = None
    splits = {split: sorted(files) for split, files in found.items() if files}
    if not splits:
        raise ValueError(
            f"Expected pictures where {head} says, but found none; set path, train and val in it, "
            f"relative to {folder}."
        )
    # Lists often name the same folder twice, where no validation set was kept apart.
    for split in ("val", "test"):
        if splits.get(split) == splits.get("train"):
            splits.pop(split, None)
    return splits


def _judge_missing(
    nowhere: list[tuple[str, str]], there: set[str], head: Path, notes: list[str]
) -> None:
    """Refuse places without pictures that a split has beside others, and that are to train on.

    Those of a whole validation or test set are told: many data sets name one that they lack.
    """
    for key, place in nowhere:
        if SPLITS[key] != "train" and SPLITS[key] not in there:
            notes.append(
                f"There are no pictures in {place}, which {head.name} gives for {key}: it counts "
                "as missing."
            )
            continue
        raise ValueError(
            f"Expected pictures in {place}, which {head} gives for {key}, but there are none; "
            "correct it, or take it out."
        )


def _places(content: dict, key: str, head: Path) -> list[str]:
    """The folders and lists that a ``.yaml`` gives for a split."""
    value: Any = content[key]
    places = [value] if isinstance(value, str) else value
    if not isinstance(places, list) or not all(isinstance(place, str) for place in places):
        raise ValueError(
            f"Expected a folder, a list of pictures, or several of them as {key} in {head}, but "
            f"got {value!r}; write it as a path relative to {head.parent}."
        )
    return places


def _locate(named: dict[str, list[str]], bases: list[Path]) -> list[tuple[str, str, Path | None]]:
    """Find the places of the splits, whose paths are often those of another machine.

    The end of a path is not taken for the place where it no longer says which split it is of:
    ``../train/images`` and ``../valid/images`` both end in ``images``, which may hold the pictures
    of all splits, and would let a detector be trained on what it is measured on.

    Args:
        named: The places that each key of a ``.yaml`` gives.
        bases: Folders that they may be relative to.

    Returns:
        Each key and place with the folder or list, None where it is not found.
    """
    located = [
        (key, place, _find(place, bases, SPLITS[key])) for key in named for place in named[key]
    ]
    result = []
    for key, place, path in located:
        shortened = path not in [Path(os.path.abspath(base / place)) for base in bases]
        # One place that is given for several splits is meant.
        shared = shortened and any(
            path == other and place != name and SPLITS[key] != SPLITS[split]
            for split, name, other in located
        )
        result.append((key, place, None if shared else path))
    return result


def _list_pictures(path: Path, base: str, folder: Path, left_out: Counter[str]) -> list[Path]:
    """Image files of a folder, or of a list, whose paths may be those of another machine too."""
    if path.is_dir():
        return list_files(path, SUFFIXES)
    if path.suffix != ".txt":
        return []
    text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    # What begins with a dot is relative to the list.
    listed = [
        _find(line, [path.parent, folder / base, folder])
        if line.startswith(".")
        else _find(line, [folder / base, folder, path.parent])
        for line in lines
    ]
    files = [file for file in listed if file is not None and file.is_file()]
    if len(files) < len(lines):
        left_out["pictures of a list that are not there"] += len(lines) - len(files)
    return files


def _find(place: str, bases: list[Path], split: str | None = None) -> Path | None:
    """The file or folder that a path means, the whole of it or, of another machine's, its end.

    Args:
        place: The path.
        bases: Folders that it may be relative to.
        split: A part of the path that is named after it stays in the end.
    """
    parts = [part for part in place.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    naming = [n for n, part in enumerate(parts) if split and SPLITS.get(part.lower()) == split]
    last = naming[-1] + 1 if naming else len(parts)
    ends = [place, *("/".join(parts[start:]) for start in range(last))]
    for end in ends:
        for base in bases:
            if (base / end).exists():
                return Path(os.path.abspath(base / end))
    return None


def _label_file(picture: Path) -> Path | None:
    parts = list(picture.parts)
    for position in range(len(parts) - 2, -1, -1):
        if parts[position] == "images":
            file = Path(*parts[:position], "labels", *parts[position + 1 :]).with_suffix(".txt")
            if file.is_file():
                return file
            break
    file = picture.with_suffix(".txt")
    return file if file.is_file() else None


def _read_labels(
    file: Path,
    picture: Picture,
    classes: dict[int, str],
    left_out: Counter[str],
    boxes_alone: bool,
) -> None:
    scale = (picture.width, picture.height)
    for line in file.read_text(encoding="utf-8-sig", errors="replace").splitlines():
        fields = line.split()
        if not fields:
            continue
        picture.marked += 1
        try:
            numbers = [float(text) for text in fields]
        except ValueError:
            numbers = []
        values = numbers[1:5] if boxes_alone else numbers[1:]
        is_polygon = len(values) >= 6 and len(values) % 2 == 0
        if (len(values) != 4 and not is_polygon) or not all(map(math.isfinite, numbers)):
            left_out["lines that are neither a box nor a polygon"] += 1
            continue
        name = classes.get(numbers[0])  # type: ignore[call-overload]
        if name is None:
            left_out["objects of a class that has no name"] += 1
            picture.marked -= 1  # For the classes with one it is background.
            continue
        if max(values) > _PIXELS:
            left_out["lines in pixels, where YOLO has shares of the picture"] += 1
            continue
        if not is_polygon:
            x, y, width, height = (v * scale[i % 2] for i, v in enumerate(values))
            corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
            add_object(picture, name, corners, left_out)
            continue
        polygon = [v * scale[i % 2] for i, v in enumerate(values)]
        xs, ys = polygon[::2], polygon[1::2]
        corners = (min(xs), min(ys), max(xs), max(ys))
        add_object(
            picture, name, corners, left_out, segmentation=[polygon], area=polygon_area(xs, ys)
        )
