"""YOLO: a text file for each picture, a line for each object, numbers as shares of the picture."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import yaml

from .pictures import SPLITS, SUFFIXES, list_files, open_picture, split_of
from .records import DataSet, Picture, add_object

__all__ = ["find_yolo", "read_yolo"]

FORM = "YOLO"
_TEXT = frozenset({".txt"})
_CLASS_LISTS = ("classes.txt", "obj.names", "labels.txt")


def find_yolo(root: Path) -> Path | None:
    """Find what names the classes: a ``.yaml`` with ``names``, or a list such as classes.txt."""
    if root.is_file():
        return root if root.suffix in (".yaml", ".yml") and _names(root) else None
    for file in sorted([*root.glob("*.yaml"), *root.glob("*.yml")]):
        if _names(file):
            return file
    for name in _CLASS_LISTS:
        for file in (root / name, root / "labels" / name):
            if file.is_file():
                return file
    return None


def read_yolo(root: Path) -> DataSet:
    """Read a YOLO data set.

    Lines are ``class x y width height`` (the middle of the box), or ``class x1 y1 x2 y2 x3 y3 ...``
    (a polygon, for instance segmentation). The labels of ``.../images/a.jpg`` are
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
    doubled = [name for name, number in Counter(classes).items() if number > 1]
    if doubled:
        places = [place for place, name in enumerate(classes) if name == doubled[0]]
        raise ValueError(
            f"Expected classes with distinct names in {head}, but classes {places} are all called "
            f"{doubled[0]!r}; rename all but one, or give the objects one class."
        )
    left_out: Counter[str] = Counter()
    splits: dict[str, list[Picture]] = {}
    labelled = 0
    for split, files in _pictures(head, folder).items():
        for file in files:
            picture = open_picture(file, left_out)
            if picture is not None:
                labels = _label_file(file)
                labelled += labels is not None
                if labels is not None:
                    _read_labels(labels, picture, classes, left_out)
                splits.setdefault(split, []).append(picture)
    if not labelled:
        raise ValueError(
            f"Expected labels of YOLO for the pictures of {folder}, but found none; they are "
            "looked for as .../labels/NAME.txt for .../images/NAME.jpg, or beside the picture."
        )
    categories = {name: number for number, name in enumerate(classes, start=1)}
    return DataSet(FORM, _common(folder, splits), categories, splits, left_out)


def _names(file: Path) -> list[str]:
    """The names of the classes in a file, none where it is not of YOLO."""
    text = file.read_text(encoding="utf-8-sig", errors="replace")
    if file.suffix not in (".yaml", ".yml"):
        return [line.strip() for line in text.splitlines() if line.strip()]
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError:
        return []
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict):
        names = [names[key] for key in sorted(names, key=int)]
    return [str(name) for name in names] if isinstance(names, list) else []


def _pictures(head: Path, folder: Path) -> dict[str, list[Path]]:
    """Image files of each split: as the ``.yaml`` says, else by the names of the folders."""
    splits: dict[str, list[Path]] = {}
    if head.suffix in (".yaml", ".yml"):
        content = yaml.safe_load(head.read_text(encoding="utf-8-sig"))
        for key, split in SPLITS.items():
            places = content.get(key) or []
            for place in [places] if isinstance(places, str) else places:
                found = _resolve(str(place), str(content.get("path") or ""), folder)
                for path in found:
                    if path not in splits.setdefault(split, []):
                        splits[split].append(path)
    if not any(splits.values()):
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
    relative = place.replace("\\", "/")
    while relative.startswith(("../", "./")):
        relative = relative.split("/", 1)[1]
    for path in (
        folder / base / place,
        folder / place,
        folder / base / relative,
        folder / relative,
    ):
        path = Path(os.path.abspath(path))
        if path.is_dir():
            return list_files(path, SUFFIXES)
        if path.is_file() and path.suffix == ".txt":
            lines = [line.strip() for line in path.read_text().splitlines() if line.strip()]
            listed = [Path(os.path.abspath(folder / base / line)) for line in lines]
            return [file for file in listed if file.is_file()]
    return []


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


def _read_labels(file: Path, picture: Picture, classes: list[str], left_out: Counter[str]) -> None:
    scale = (picture.width, picture.height)
    for line in file.read_text(encoding="utf-8-sig", errors="replace").splitlines():
        fields = line.split()
        if not fields:
            continue
        try:
            numbers = [float(text) for text in fields]
        except ValueError:
            numbers = []
        values = numbers[1:]
        is_polygon = len(values) >= 6 and len(values) % 2 == 0
        if len(values) != 4 and not is_polygon:
            left_out["lines that are neither a box nor a polygon"] += 1
            continue
        if numbers[0] != int(numbers[0]) or not 0 <= numbers[0] < len(classes):
            left_out["objects of a class that has no name"] += 1
            continue
        name = classes[int(numbers[0])]
        if not is_polygon:
            x, y, width, height = (v * scale[i % 2] for i, v in enumerate(values))
            corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
            add_object(picture, name, corners, left_out)
            continue
        polygon = [v * scale[i % 2] for i, v in enumerate(values)]
        xs, ys = polygon[::2], polygon[1::2]
        corners = (min(xs), min(ys), max(xs), max(ys))
        add_object(picture, name, corners, left_out, segmentation=[polygon], area=_area(xs, ys))


def _area(xs: list[float], ys: list[float]) -> float:
    """Area of a polygon, by the shoelace formula."""
    turned = zip(xs, ys, xs[1:] + xs[:1], ys[1:] + ys[:1], strict=True)
    return abs(sum(x1 * y2 - x2 * y1 for x1, y1, x2, y2 in turned)) / 2


def _common(folder: Path, splits: dict[str, list[Picture]]) -> Path:
    """The folder given where all pictures lie in it, else the nearest above all of them."""
    files = [picture.file for pictures in splits.values() for picture in pictures]
    while not all(file.is_relative_to(folder) for file in files):
        folder = folder.parent
    return folder
