"""A small COCO annotation file to damage."""

from __future__ import annotations

import copy

_FILE = {
    "images": [
        {"id": 1, "file_name": "a.jpg", "width": 40, "height": 30},
        {"id": 5, "file_name": "b.jpg", "width": 50, "height": 60},
    ],
    "categories": [{"id": 2, "name": "cat"}, {"id": 7, "name": "dog"}],
    "annotations": [
        {
            "id": 10 + number,
            "image_id": image_id,
            "category_id": category_id,
            "bbox": [x, y, w, h],
            "area": w * h,
            "iscrowd": 0,
            "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
        }
        for number, (image_id, category_id, x, y, w, h) in enumerate(
            [
                (1, 2, 2, 2, 10, 10),
                (1, 7, 20, 5, 10.5, 20),
                (5, 2, 5, 5, 20, 20),
                (5, 7, 3, 40, 8, 9),
            ]
        )
    ],
}


def sound_file(**changes: list) -> dict:
    """A file of two images, two categories and four objects; ``changes`` replace whole lists."""
    return {**copy.deepcopy(_FILE), **changes}


def damaged(kind: str, index: int, **changes: object) -> dict:
    """The file with other fields in one entry; ``...`` removes a field."""
    data = sound_file()
    entry = data[kind][index]
    for key, value in changes.items():
        if value is ...:
            del entry[key]
        else:
            entry[key] = value
    return data


def image_of(data: dict) -> dict[int, list]:
    """The boxes of a file by image id."""
    found: dict[int, list] = {}
    for entry in data["annotations"]:
        found.setdefault(entry["image_id"], []).append(entry["bbox"])
    return found
