"""The common result of all readers of annotations: pictures with their objects, split by split."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["DataSet", "Labelled", "Picture", "add_object", "cut_box"]

#: Sides of a box below this many pixels: MMDetection skips such objects without a word.
MIN_SIDE = 1.0


@dataclass(frozen=True)
class Labelled:
    """One object.

    Attributes:
        category: Name of its class.
        box: ``(x, y, width, height)`` in pixels, inside of the picture.
        segmentation: Polygons or run lengths in COCO's form, or None.
        ignored: Whether it is neither trained nor counted (VOC's ``difficult``, COCO's
            ``iscrowd``).
        area: In pixels; of the box where it is None.
    """

    category: str
    box: tuple[float, float, float, float]
    segmentation: Any = None
    ignored: bool = False
    area: float | None = None


@dataclass
class Picture:
    """One image file.

    Attributes:
        file: Where it lies.
        width: In pixels, as it is shown (an orientation in its metadata is applied).
        height: Likewise.
        objects: What is marked in it and can be used.
        marked: How many objects, or masks, are marked in it and may be of no use.
        deep: Whether its channels have more than 8 bits.
    """

    file: Path
    width: int
    height: int
    objects: list[Labelled] = field(default_factory=list)
    marked: int = field(default=0, compare=False)
    deep: bool = field(default=False, compare=False)


@dataclass
class DataSet:
    """All that was read.

    Attributes:
        form: How the data was labelled: "COCO", "YOLO", "Pascal VOC", "LabelMe" or "masks".
        root: Folder that all image files lie in.
        categories: Names of the classes with the ids that COCO files give them.
        splits: Pictures of "train", "val" and "test"; a data set without a split has "train".
        left_out: How many objects or pictures are not in it, by reason.
        notes: What else the user should know, a sentence each.
    """

    form: str
    root: Path
    categories: dict[str, int]
    splits: dict[str, list[Picture]]
    left_out: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    @property
    def classes(self) -> list[str]:
        """Names in the order of the labels: sorted, so that it is the same in every form."""
        return sorted(self.categories)

    def count(self, split: str) -> Mapping[str, int]:
        """Objects of each class in a split, those ignored not among them."""
        found = Counter(
            labelled.category
            for picture in self.splits[split]
            for labelled in picture.objects
            if not labelled.ignored
        )
        return {name: found[name] for name in self.classes}


def cut_box(
    corners: Sequence[float], width: int, height: int
) -> tuple[tuple[float, float, float, float] | None, str | None]:
    """Cut a box at the edges of its picture.

    Args:
        corners: ``x1, y1, x2, y2`` in pixels.
        width: Of the picture.
        height: Likewise.

    Returns:
        The box as ``(x, y, width, height)``, or None; and why there is none, or why it changed.

    Example:
        >>> cut_box((-4, 0, 16, 10), 100, 50)
        ((0.0, 0.0, 16.0, 10.0), 'boxes cut at the edge of their picture')
        >>> cut_box((4, 4, 4, 9), 100, 50)
        (None, 'objects without width or height')
    """
    if not all(math.isfinite(value) for value in corners):
        return None, "objects whose box has no finite numbers"
    x1, y1, x2, y2 = map(float, corners)
    if x2 <= x1 or y2 <= y1:
        return None, "objects without width or height"
    left, top, right, bottom = max(x1, 0.0), max(y1, 0.0), min(x2, width), min(y2, height)
    if right <= left or bottom <= top:
        return None, "objects outside of their picture"
    if right - left < MIN_SIDE or bottom - top < MIN_SIDE:
        return None, "objects narrower than one pixel"
    # What rounding leaves beyond the edge is not worth a message.
    beyond = max(left - x1, top - y1, x2 - right, y2 - bottom)
    reason = "boxes cut at the edge of their picture" if beyond > MIN_SIDE else None
    return (left, top, right - left, bottom - top), reason


def add_object(
    picture: Picture,
    category: str,
    corners: Sequence[float],
    left_out: Counter[str],
    **more: Any,
) -> None:
    """Add an object to its picture, or count why it cannot be.

    Args:
        picture: Where it is.
        category: Its class.
        corners: ``x1, y1, x2, y2`` in pixels.
        left_out: Counts by reason.
        more: Further fields of `Labelled`.
    """
    box, reason = cut_box(corners, picture.width, picture.height)
    if reason is not None:
        left_out[reason] += 1
    if box is not None:
        picture.objects.append(Labelled(category, box, **more))
