"""LabelMe (and tools that write its form, as AnyLabeling): a JSON file for each picture."""

from __future__ import annotations

import base64
import io
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as mask_utils

from mmdet_rank.files import load_json

from .fields import is_number
from .pictures import PictureIndex, fits_its_picture, list_files, open_picture, split_of
from .records import DataSet, Picture, add_object
from .segmentations import polygon_area

__all__ = ["find_labelme", "read_labelme"]

FORM = "LabelMe"
_JSON = frozenset({".json"})
_POLYGONS = ("polygon", "rotation")
#: Sides of the polygon that stands for a circle.
_CIRCLE = 32


@dataclass
class _Object:
    """The shapes of one object.

    Attributes:
        category: name of its class.
        ignored: whether a shape of it is marked as difficult.
        boxes: corners of each shape.
        outlines: points of each polygon, rectangle and circle.
        masks: run lengths of each mask.
        has_outline: whether there is more than rectangles, which say nothing about a mask.
    """

    category: str
    ignored: bool = False
    boxes: list[tuple[float, float, float, float]] = field(default_factory=list)
    outlines: list[list[float]] = field(default_factory=list)
    masks: list[dict] = field(default_factory=list)
    has_outline: bool = False


def find_labelme(root: Path) -> list[Path]:
    """List the JSON files of a folder where one of them is LabelMe's, else none."""
    files = list_files(root, _JSON) if root.is_dir() else []
    return files if any(_content(file) is not None for file in files) else []


def read_labelme(root: Path) -> DataSet:
    """Read a folder of LabelMe's annotations.

    Rectangles give boxes; polygons, circles and masks give boxes and masks. Shapes of one label
    and one ``group_id`` are one object. Points and lines are no objects. Objects marked as
    ``difficult`` (AnyLabeling) are ignored. Splits are those of folders named after them.

    Args:
        root: The folder; the annotations and pictures may lie anywhere in it.

    Raises:
        ValueError: If no annotation has its picture.
    """
    left_out: Counter[str] = Counter()
    index = PictureIndex(root)
    splits: dict[str, list[Picture]] = {}
    for file in find_labelme(root):
        picture = _read_file(file, index, left_out)
        if picture is not None:
            split = split_of(file, root) or split_of(picture.file, root) or "train"
            splits.setdefault(split, []).append(picture)
    pictures = [picture for members in splits.values() for picture in members]
    index.count_unused(root, pictures, "JSON", left_out)
    names = {labelled.category for picture in pictures for labelled in picture.objects}
    categories = {name: number for number, name in enumerate(sorted(names), start=1)}
    return DataSet(FORM, root, categories, splits, left_out)


def _content(file: Path) -> dict | None:
    """Read an annotation file; None for another file."""
    try:
        data = load_json(file)
    except ValueError:
        return None
    return data if isinstance(data, dict) and isinstance(data.get("shapes"), list) else None


def _read_file(file: Path, index: PictureIndex, left_out: Counter[str]) -> Picture | None:
    data = _content(file)
    if data is None:
        left_out["JSON files without shapes"] += 1
        return None
    path = index.find(file, str(data.get("imagePath") or ""))
    if path is None:
        left_out["annotation files without a picture"] += 1
        return None
    picture = open_picture(path, left_out)
    if picture is None:
        return None
    size = data.get("imageWidth"), data.get("imageHeight")
    if not fits_its_picture(picture, size, left_out):
        return None
    objects: dict[Any, _Object] = {}
    for number, shape in enumerate(data["shapes"]):
        reason = _take(shape, number, picture, objects)
        if reason is not None:
            left_out[reason] += 1
    for found in objects.values():
        _add(found, picture, left_out)
    picture.marked = len(data["shapes"])
    return picture


def _take(shape: Any, number: int, picture: Picture, objects: dict[Any, _Object]) -> str | None:
    """Put a shape to the other shapes of its object; say why where it is of no use."""
    name = shape.get("label") if isinstance(shape, dict) else None
    if not isinstance(name, str) or not name.strip():
        return "objects without a name or a box"
    name, kind = name.strip(), shape.get("shape_type") or "polygon"
    points = _points_of(shape)
    if kind in ("point", "points", "line", "linestrip"):
        return "points and lines, which are no objects"
    if kind == "circle" and len(points) == 2:
        points = _circle(*points)
    elif len(points) < (3 if kind in _POLYGONS else 2):
        return "objects without a name or a box"
    xs, ys = zip(*points, strict=True)
    box = (min(xs), min(ys), max(xs), max(ys))
    mask = None
    if kind == "mask":
        mask = _mask_of(shape, box, picture)
        if mask is None:
            return "masks that cannot be read"
        # The corners are the first and the last pixel.
        box = (box[0], box[1], box[2] + 1, box[3] + 1)
    group = shape.get("group_id")
    key = (name, number, "alone") if group is None else (name, str(group), "group")
    found = objects.setdefault(key, _Object(name))
    found.ignored |= shape.get("difficult") is True
    found.boxes.append(box)
    if mask is not None:
        found.masks.append(mask)
    else:
        corners = [(box[0], box[1]), (box[2], box[1]), (box[2], box[3]), (box[0], box[3])]
        outline = corners if kind == "rectangle" else points
        cut = [(min(max(x, 0), picture.width), min(max(y, 0), picture.height)) for x, y in outline]
        found.outlines.append([float(value) for point in cut for value in point])
    found.has_outline |= kind != "rectangle"
    return None


def _add(found: _Object, picture: Picture, left_out: Counter[str]) -> None:
    lefts, tops, rights, bottoms = zip(*found.boxes, strict=True)
    more: dict[str, Any] = {"ignored": found.ignored}
    if found.masks:
        outlines = found.outlines and mask_utils.frPyObjects(
            found.outlines, picture.height, picture.width
        )
        merged = mask_utils.merge([*found.masks, *outlines])
        more["area"] = float(mask_utils.area(merged))
        more["segmentation"] = {**merged, "counts": merged["counts"].decode("ascii")}
    elif found.has_outline:
        more["area"] = sum(polygon_area(each[::2], each[1::2]) for each in found.outlines)
        more["segmentation"] = found.outlines
    corners = (min(lefts), min(tops), max(rights), max(bottoms))
    add_object(picture, found.category, corners, left_out, **more)


def _points_of(shape: dict) -> list[tuple[float, float]]:
    """The points of a shape, none where one of them is not two finite numbers."""
    points = shape.get("points")
    if not isinstance(points, list):
        return []
    for point in points:
        sound = isinstance(point, list) and len(point) == 2 and all(map(is_number, point))
        if not sound or not all(map(math.isfinite, point)):
            return []
    return [(float(x), float(y)) for x, y in points]


def _circle(centre: Sequence[float], edge: Sequence[float]) -> list[tuple[float, float]]:
    """Points on a circle that is given by its centre and a point of its edge."""
    radius = math.dist(centre, edge)
    turns = [2 * math.pi * step / _CIRCLE for step in range(_CIRCLE)]
    return [(centre[0] + radius * math.cos(t), centre[1] + radius * math.sin(t)) for t in turns]


def _mask_of(shape: dict, box: tuple[float, float, float, float], picture: Picture) -> dict | None:
    """Run lengths of a mask, which LabelMe writes as a PNG of the box in base64."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(shape["mask"]))) as image:
            pixels = np.asarray(image.convert("L")) > 0
    except (KeyError, TypeError, ValueError, OSError, SyntaxError, Image.DecompressionBombError):
        return None
    left, top = round(box[0]), round(box[1])
    whole = np.zeros((picture.height, picture.width), dtype=np.uint8, order="F")
    # What lies beyond the picture is cut.
    rows = slice(max(top, 0), max(top + pixels.shape[0], 0))
    columns = slice(max(left, 0), max(left + pixels.shape[1], 0))
    part = whole[rows, columns]
    part[:] = pixels[max(-top, 0) :, max(-left, 0) :][: part.shape[0], : part.shape[1]]
    return mask_utils.encode(whole) if whole.any() else None
