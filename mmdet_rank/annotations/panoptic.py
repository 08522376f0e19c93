"""COCO panoptic annotations and results: JSON files with one entry per picture of segments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .coco import check_categories
from .fields import describe, flags, ids, namer, refuse_other_than_objects

__all__ = ["PanopticAnnotations", "check_panoptic"]


@dataclass
class PanopticAnnotations:
    """A panoptic file that has been checked.

    Attributes:
        categories: with ``id``, ``name`` and ``isthing`` (0 or 1), in the order of the file; empty
            for results.
        images: entries by image id, with ``file_name`` and ``segments_info``, whose segments have
            ``id``, ``category_id`` and ``iscrowd`` (0 or 1).
    """

    categories: list[dict]
    images: dict[int | str, dict]


def check_panoptic(data: object, source: str, *, results: bool = False) -> PanopticAnnotations:
    """Check the content of a panoptic JSON file.

    Args:
        data: what was read from the file; not changed.
        source: name of the file, for messages.
        results: results of a detector, which need no ``images`` and ``categories``.

    Raises:
        ValueError: when the file is not what it should be; the message names the first entry that
            is wrong, and its field.
    """
    lists = ["annotations"] if results else ["annotations", "images", "categories"]
    if not isinstance(data, dict) or not all(isinstance(data.get(key), list) for key in lists):
        raise ValueError(
            f"Expected COCO panoptic JSON in {source}, an object with the lists {lists}, but got "
            f"{describe(data)}; pass the JSON file beside the folder of PNG files."
        )
    categories = [] if results else _categories(data["categories"], source)
    return PanopticAnnotations(categories, _images(data["annotations"], source))


def _categories(entries: list, source: str) -> list[dict]:
    where = namer("category", source)
    refuse_other_than_objects(entries, "category", source)
    categories = [dict(entry) for entry in entries]
    check_categories(categories, source)
    for index, category in enumerate(categories):
        if "isthing" not in category:
            raise ValueError(
                f"Expected isthing in {where(index)}, but got {describe(category)}; write 1 for a "
                "thing and 0 for stuff."
            )
        (category["isthing"],), _ = flags([category["isthing"]], "isthing", _always(where(index)))
    return categories


def _images(entries: list, source: str) -> dict[int | str, dict]:
    where = namer("annotation", source)
    if not entries:
        raise ValueError(
            f"Expected annotations in {source}, but the list is empty; write one for each image."
        )
    refuse_other_than_objects(entries, "annotation", source)
    for index, entry in enumerate(entries):
        for key, kind, name in (
            ("image_id", (int, float, str), "an id"),
            ("file_name", str, "a text"),
            ("segments_info", list, "a list"),
        ):
            if not isinstance(entry.get(key), kind):
                raise ValueError(
                    f"Expected {name} as {key} in {where(index)}, but got "
                    f"{describe(entry.get(key))}; write the panoptic format of COCO."
                )
    found: dict[int | str, dict] = {}
    first: dict[int | str, int] = {}
    values = ids([entry["image_id"] for entry in entries], "image_id", where)
    for index, (value, entry) in enumerate(zip(values, entries, strict=True)):
        if value in found:
            raise ValueError(
                f"Expected one annotation for each image in {source}, but image {value!r} is "
                f"listed twice, in annotation {first[value]} and in annotation {index}; remove one."
            )
        first[value] = index
        segments = _segments(entry["segments_info"], where(index))
        found[value] = {**entry, "image_id": value, "segments_info": segments}
    return found


def _segments(entries: list, where: str) -> list[dict]:
    segments = []
    seen = set()
    for index, entry in enumerate(entries):
        at = f"segment {index} of {where}"
        if not isinstance(entry, dict) or not {"id", "category_id"} <= entry.keys():
            raise ValueError(
                f"Expected 'id' and 'category_id' in {at}, but got {describe(entry)}; write the "
                "panoptic format of COCO."
            )
        (number,) = ids([entry["id"]], "id", _always(at))
        (category,) = ids([entry["category_id"]], "category_id", _always(at))
        (crowd,), _ = flags([entry.get("iscrowd", 0)], "iscrowd", _always(at))
        if number in seen or isinstance(number, str):
            raise ValueError(
                f"Expected distinct numbers as the ids of segments, but got {number!r} "
                f"{'twice' if number in seen else ''} in {at}; a segment's id is R + 256 G + 65536 "
                "B of its pixels."
            )
        seen.add(number)
        segments.append({**entry, "id": number, "category_id": category, "iscrowd": crowd})
    return segments


def _always(text: str) -> Callable[[int], str]:
    return lambda _: text
