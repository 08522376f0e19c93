"""COCO annotations: what is read, what is left out, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from . import fields
from .found import CocoAnnotations
from .objects import ObjectsCheck

__all__ = ["IOU_TYPES", "USES", "check_categories", "check_coco", "check_images"]

IOU_TYPES = ("bbox", "segm", "keypoints")
USES = ("training", "evaluation", "listing")
_LISTS = ("images", "annotations", "categories")
_MAX_SIDE = 1_000_000


def check_coco(
    data: object,
    source: str = "annotations",
    *,
    use: str = "training",
    iou_types: Sequence[str] = ("bbox",),
    in_place: bool = False,
) -> CocoAnnotations:
    """Check the content of a COCO annotation file.

    A value of the wrong type is always refused. A value of the right type that no detector can use
    (a box that is not finite, has no area or lies outside of its image, an ``image_id`` that no
    image has, a mask without an inside) takes its object out in training, and is refused in
    evaluation, where it would move the figures.

    Args:
        data: what was read from the file.
        source: name of the file, for messages.
        use: ``training``, ``evaluation``, or ``listing`` of images that may have no annotations.
        iou_types: what objects are needed for: ``bbox``, ``segm``, ``keypoints``.
        in_place: change the entries of ``data`` where they are mended, instead of copies.

    Raises:
        ValueError: the file is not COCO's, has a value of the wrong type, or no object is left; the
            message names the first entry that is wrong, and its field.

    >>> data = {"images": [{"id": 1, "file_name": "a.jpg", "width": 40, "height": 30}],
    ...         "categories": [{"id": 1, "name": "cat"}],
    ...         "annotations": [{"image_id": 1, "category_id": 1, "bbox": box, "area": 100}
    ...                         for box in ([0, 0, 10, 10], [90, 0, 10, 10])]}
    >>> check_coco(data).left_out
    {'box outside of the width and height stated for its image': 1}
    """
    if use not in USES or not set(iou_types) <= set(IOU_TYPES):
        raise ValueError(
            f"Expected a use of {USES} and IoU types of {IOU_TYPES}, but got {use!r} and "
            f"{tuple(iou_types)}; choose among them."
        )
    if not isinstance(data, dict):
        raise ValueError(
            f"Expected COCO annotations with the lists 'images', 'annotations' and 'categories' in "
            f"{source}, but got {fields.describe(data)}; pass the annotation file, or convert it "
            "to COCO's format."
        )
    if use == "listing" and "annotations" not in data:
        data = {**data, "annotations": []}
    lacking = [key for key in _LISTS if not isinstance(data.get(key), list)]
    if lacking:
        raise ValueError(
            f"Expected COCO annotations with the lists 'images', 'annotations' and 'categories' in "
            f"{source}, but {', '.join(lacking)} is missing among {sorted(map(str, data))[:6]}; "
            "convert the annotations to COCO's format."
        )
    found = CocoAnnotations(source, data, len(data["annotations"]))
    copied = {key: data[key] if in_place else _copies(data[key]) for key in _LISTS}
    found.dataset = {**data, **copied}
    sizes = check_images(found.dataset["images"], source, use=use, masks="segm" in iou_types)
    found.mended |= check_categories(found.dataset["categories"], source)
    ObjectsCheck(found, use, tuple(iou_types), sizes).check()
    return found


def check_images(
    images: list, source: str, *, use: str = "evaluation", masks: bool = False
) -> NDArray[np.float64]:
    """Check the images of a file, and write their ids and sizes as whole numbers.

    Args:
        images: entries of the file; changed in place.
        source: name of the file, for messages.
        use: in training, each needs ``file_name``, ``width`` and ``height``.
        masks: each needs ``width`` and ``height``.

    Returns:
        (N, 2) width and height; NaN where they are not stated.

    Raises:
        ValueError: an entry is wrong, or two share an id.
    """
    where = fields.namer("image", source)
    needed = ("id", "file_name", "width", "height") if use == "training" else ("id",)
    fields.refuse_missing(images, "images", needed, source)
    _distinct_ids(images, "image", source)
    sizes = np.full((len(images), 2), np.nan)
    for column, key in enumerate(("width", "height")):
        stated = [i for i, image in enumerate(images) if image.get(key) is not None]
        if len(stated) < len(images) and masks:
            first = next(i for i, image in enumerate(images) if image.get(key) is None)
            raise ValueError(
                f"Expected {key} in {where(first)}, but there is none; masks cannot be drawn "
                "without the size of their image."
            )
        values = [images[index][key] for index in stated]
        advice = "write the size in pixels, a whole number"
        sides = fields.numbers(values, key, _place(where, stated), advice)
        wrong = np.flatnonzero(~((sides >= 1) & (sides <= _MAX_SIDE) & (sides == np.floor(sides))))
        if wrong.size:
            raise ValueError(
                f"Expected a whole number of pixels as {key} in {where(stated[wrong[0]])}, but got "
                f"{fields.describe(values[wrong[0]])}; {advice}."
            )
        sizes[stated, column] = sides
        if not set(map(type, values)) <= {int}:
            for index, value in zip(stated, values, strict=True):
                images[index][key] = int(value)
    names = [image.get("file_name", "") for image in images]
    if not set(map(type, names)) <= {str} or (use == "training" and not all(names)):
        for index, name in enumerate(names):
            if not isinstance(name, str) or (use == "training" and not name):
                raise ValueError(
                    f"Expected a text as file_name in {where(index)}, but got "
                    f"{fields.describe(name)}; write the path of the picture below its folder."
                )
    return sizes


def check_categories(categories: list, source: str) -> dict[str, int]:
    """Check the categories of a file, and write their ids as whole numbers and names as texts.

    Args:
        categories: entries of the file; changed in place.
        source: name of the file, for messages.

    Returns:
        What was mended, and how often.

    Raises:
        ValueError: an entry is wrong, or two share an id or a name.
    """
    where = fields.namer("category", source)
    fields.refuse_missing(categories, "categories", ("id", "name"), source)
    _distinct_ids(categories, "category", source)
    seen: dict[str, int] = {}
    mended = 0
    for index, category in enumerate(categories):
        name = category["name"]
        if isinstance(name, (int, float)) and not isinstance(name, bool):
            category["name"] = name = str(name)
            mended += 1
        if not isinstance(name, str) or not name.strip():
            raise ValueError(
                f"Expected a text as name in {where(index)}, but got {fields.describe(name)}; "
                "results are reported by name, so give each category one."
            )
        if name in seen:
            other = seen[name]
            raise ValueError(
                f"Expected categories with distinct names in {source}, but categories {other} (id "
                f"{categories[other]['id']!r}) and {index} (id {category['id']!r}) are both called "
                f"{name!r}; remove or rename the one that no object should have (some labelling "
                "tools add a root category)."
            )
        seen[name] = index
    return {"Read a category name that is a number as text": mended} if mended else {}


def _copies(entries: list) -> list:
    return [dict(entry) if isinstance(entry, dict) else entry for entry in entries]


def _distinct_ids(entries: list[dict], what: str, source: str) -> None:
    where = fields.namer(what, source)
    values = fields.ids([entry["id"] for entry in entries], "id", where)
    seen: dict = {}
    for index, (entry, value) in enumerate(zip(entries, values, strict=True)):
        if value in seen:
            raise ValueError(
                f"Expected distinct {what} ids in {source}, but {value!r} occurs twice, in {what} "
                f"{seen[value]} and in {what} {index}; number them 1, 2, ..."
            )
        seen[value] = index
        entry["id"] = value


def _place(where: Callable[[int], str], stated: Sequence[int]) -> Callable[[int], str]:
    """Name an entry by its place among those that state something."""
    return lambda i: where(stated[i])
