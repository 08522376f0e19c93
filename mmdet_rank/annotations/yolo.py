"""YOLO: a text file for each picture, a line for each object, numbers as shares of the picture."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import yaml

from .pictures import SPLITS, SUFFIXES, list_files, open_picture, split_of
from .records import DataSet, Picture, add_object
from .segmentations import polygon_area

__all__ = ["CLASS_LISTS", "find_yolo", "is_label_file", "read_yolo"]

FORM = "YOLO"
_TEXT = frozenset({".txt"})
CLASS_LISTS = ("classes.txt", "obj.names", "labels.txt")
_YAML = (".yaml", ".yml")
#: No share of a picture is as large, not even that of an object that reaches beyond it.
_PIXELS = 2.0


def find_yolo(root: Path) -> Path | None:
    """Find what names the classes: a ``.yaml`` with ``names``, or a list such as classes.txt."""
    if root.is_file():
        return root if root.suffix in _YAML and _names(root) else None
    for file in sorted([*root.glob("*.yaml"), *root.glob("*.yml")]):
        if _names(file):
            return file
    for name in CLASS_LISTS:
        for file in (root / name, root / "labels" / name):
            if file.is_file():
                return file
    return None


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
    for split, files in _pictures(head, folder, notes).items():
        for file in files:
            labels = _label_file(file)
            if labels is not None:
                used.add(labels)
            picture = open_picture(file, left_out)
            if picture is None:
                continue
            if labels is not None:
                _read_labels(labels, picture, classes, left_out, boxes_alone)
            splits.setdefault(split, []).append(picture)
    if not used:
        raise ValueError(
            f"Expected labels of YOLO for the pictures of {folder}, but found none; they are "
            "looked for as .../labels/NAME.txt for .../images/NAME.jpg, or beside the picture."
        )
    others = (file for place in {file.parent for file in used} for file in place.glob("*.txt"))
    alone = sum(file not in used and is_label_file(file) for file in others)
    left_out.update({"label files without a picture": alone} if alone else {})
    categories = {name: place + 1 for place, name in sorted(classes.items())}
    return DataSet(FORM, _common(folder, splits), categories, splits, left_out, notes)


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


def _content(file: Path) -> dict:
    """Content of a ``.yaml``; nothing where it is not one."""
    if file.suffix not in _YAML:
        return {}
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8-sig", errors="replace"))
    except yaml.YAMLError:
        return {}
    return content if isinstance(content, dict) else {}


def _names(file: Path) -> dict[int, str]:
    """The names of the classes in a file by their number, none where it is not of YOLO."""
    if file.suffix not in _YAML:
        text = file.read_text(encoding="utf-8-sig", errors="replace")
        return dict(enumerate(line.strip() for line in text.splitlines() if line.strip()))
    names = _content(file).get("names")
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict):
        return {}
    try:
        return {int(place): str(name) for place, name in names.items()}
    except (TypeError, ValueError):
        return {}


def _pictures(head: Path, folder: Path, notes: list[str]) -> dict[str, list[Path]]:
    """Image files of each split: as the ``.yaml`` says, else by the names of the folders."""
    splits: dict[str, list[Path]] = {}
    content = _content(head)
    named = []
    for key, split in SPLITS.items():
        places = content.get(key) or []
        for place in [places] if isinstance(places, str) else places:
            named.append(str(place))
            found = _resolve(str(place), str(content.get("path") or ""), folder)
            for path in found:
                if path not in splits.setdefault(split, []):
                    splits[split].append(path)
    if not any(splits.values()):
        if named:
            notes.append(
                f"{head.name} says that pictures are in {', '.join(named)}, where there are none: "
                "all pictures beside it are taken, splits by the names of their folders."
            )
        splits = {}
        for path in list_files(folder, SUFFIXES):
            splits.setdefault(split_of(path, folder) or "train", []).append(path)
    splits = {split: sorted(files) for split, files in splits.items() if files}
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


def _resolve(place: str, base: str, folder: Path) -> list[Path]:
    """Image files of a place in a ``.yaml``, whose paths are often those of another machine."""
    path = _find(place, base, folder)
    if path is None:
        return []
    if path.is_dir():
        return list_files(path, SUFFIXES)
    if path.suffix != ".txt":
        return []
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    listed = [_find(line.strip(), base, folder) for line in lines if line.strip()]
    return [file for file in listed if file is not None and file.is_file()]


def _find(place: str, base: str, folder: Path) -> Path | None:
    """The file or folder that a path means, the whole of it or, of another machine's, its end."""
    for path in (folder / base / place, folder / place):
        if path.exists():
            return Path(os.path.abspath(path))
    parts = [part for part in place.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    for start in range(len(parts)):
        for path in (folder / base / Path(*parts[start:]), folder / Path(*parts[start:])):
            if path.exists():
                return Path(os.path.abspath(path))
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
        try:
            numbers = [float(text) for text in fields]
        except ValueError:
            numbers = []
        values = numbers[1:5] if boxes_alone else numbers[1:]
        is_polygon = len(values) >= 6 and len(values) % 2 == 0
        if len(values) != 4 and not is_polygon:
            left_out["lines that are neither a box nor a polygon"] += 1
            continue
        name = classes.get(numbers[0])  # type: ignore[call-overload]
        if name is None:
            left_out["objects of a class that has no name"] += 1
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


def _common(folder: Path, splits: dict[str, list[Picture]]) -> Path:
    """The folder given where all pictures lie in it, else the nearest above all of them."""
    files = [picture.file for pictures in splits.values() for picture in pictures]
    while not all(file.is_relative_to(folder) for file in files):
        folder = folder.parent
    return folder
