"""COCO results: what detectors wrote, checked against the ground truth."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from . import fields
from .boxes import looks_like_corners, looks_like_fractions
from .coco import IOU_TYPES
from .objects import check_keypoints
from .run_lengths import as_run_lengths, check_run_lengths
from .segmentations import MaskFault, all_polygons_sound, mask_refusal, sound_polygons

__all__ = ["CocoResults", "check_results"]

_FIELD = {"bbox": "bbox", "segm": "segmentation", "keypoints": "keypoints"}


@dataclass
class CocoResults:
    """Detections that have been checked.

    Attributes:
        detections: with ``image_id``, ``category_id``, ``score``, and what is evaluated; masks as
            run lengths.
        hints: sentences about the file as a whole; empty when all is well.
    """

    detections: list[dict]
    hints: list[str] = field(default_factory=list)


def check_results(
    results: object,
    ground_truth: Mapping[str, Any],
    iou_type: str = "bbox",
    source: str = "results",
) -> CocoResults:
    """Check COCO results against checked ground truth.

    Results are a list of detections. The form of a data set is understood too: an object with
    ``annotations`` that have a ``score``.

    Names go before numbers, which another program may have given. Images are those of the ground
    truth with the same ``file_name``, and categories those with the same ``name``, where the file
    has such lists, or its detections ``file_name`` and ``category``. Paths of either side may begin
    in another folder. Names of pictures none of which is known say nothing; a category of a name
    that is not known is never taken for another one.

    As in pycocotools, the size of a detection (small, medium, large) is that of its box where all
    detections have one, else that of its mask or of the extent of its keypoints.

    Args:
        results: what was read from the file.
        ground_truth: ``images`` and ``categories`` that have been checked.
        iou_type: ``bbox``, ``segm`` or ``keypoints``.
        source: name of the file, for messages.

    Raises:
        ValueError: when ``results`` are not COCO results, are empty, name images or categories that
            ``ground_truth`` does not have, or have scores, boxes or masks that cannot be; the
            message names the first detection that is wrong, and its field.

    >>> ground_truth = {"images": [{"id": 1}], "categories": [{"id": 2, "name": "cat"}]}
    >>> check_results([{"image_id": 1.0, "category_id": 2, "bbox": [0, 0, 5, 5], "score": 1}],
    ...               ground_truth).detections
    [{'image_id': 1, 'category_id': 2, 'score': 1, 'bbox': [0, 0, 5, 5]}]
    """
    if iou_type not in IOU_TYPES:
        raise ValueError(f"Expected one of the IoU types {IOU_TYPES}, but got {iou_type!r}.")
    entries = _entries(results, source)
    where = fields.namer("detection", source)
    fields.refuse_other_than_objects(entries, "detection", source)
    listed = results if isinstance(results, dict) else {}
    image_ids, hints = _image_ids(listed, entries, ground_truth["images"], source)
    category_ids = _category_ids(listed, entries, ground_truth["categories"], where)
    _check_scores(entries, where)
    key = _FIELD[iou_type]
    for index, entry in enumerate(entries):
        if key not in entry:
            raise ValueError(
                f"Expected '{key}' in {where(index)} for the IoU type {iou_type}, but got the "
                f"fields {sorted(map(str, entry))}; choose the IoU type that the results are for."
            )
    checked = [
        {"image_id": i, "category_id": c, "score": entry["score"], key: entry[key]}
        for i, c, entry in zip(image_ids, category_ids, entries, strict=True)
    ]
    positions = {image["id"]: index for index, image in enumerate(ground_truth["images"])}
    sizes = np.array([_size(image) for image in ground_truth["images"]], dtype=np.float64).reshape(
        -1, 2
    )
    own = sizes[[positions[i] for i in image_ids]]
    if iou_type == "bbox" or all(entry.get("bbox") for entry in entries):
        hints += _check_boxes(entries, own, where)
        for detection, entry in zip(checked, entries, strict=True):
            detection["bbox"] = entry["bbox"]
    if iou_type == "segm":
        _check_masks(checked, own, where)
    elif iou_type == "keypoints":
        for index, detection in enumerate(checked):
            check_keypoints(detection["keypoints"], where(index))
    return CocoResults(checked, hints)


def _entries(results: object, source: str) -> list:
    """Return the detections of a file."""
    if isinstance(results, dict) and isinstance(results.get("annotations"), list):
        entries = results["annotations"]
        if entries and not any(isinstance(e, dict) and "score" in e for e in entries):
            raise ValueError(
                f"Expected detections with a score in {source}, but got COCO annotations without "
                "any; pass the file that the detector wrote."
            )
    elif isinstance(results, list):
        entries = results
    else:
        raise ValueError(
            f"Expected COCO results in {source}, a list of detections, but got "
            f"{fields.describe(results)}; pass the file that the detector wrote."
        )
    if not entries:
        raise ValueError(
            f"Expected detections in {source}, but the list is empty; lower the score threshold of "
            "the detector, or check that it ran on the images of the ground truth."
        )
    return entries


def _image_ids(
    listed: Mapping[str, Any], entries: Sequence[dict], images: Sequence[dict], source: str
) -> tuple[list, list[str]]:
    """Return the ground truth's image of each detection, and a hint where all names are foreign.

    Predictions on a folder number its pictures, whatever ids the ground truth has.
    """
    where = fields.namer("detection", source)
    numbers = _numbers(entries, "image_id", where)
    names = _names_of(listed, "images", "file_name")
    doubled = None
    if not names:
        names, doubled = _names_of_pictures(numbers, entries)
    found = _by_path(names, set(numbers), images)
    if not any(found.values()):
        _check_known(numbers, "image_id", images, where)
        own = next((image["file_name"] for image in images if image.get("file_name")), None)
        if not names or own is None:
            return numbers, []
        hint = (
            f"None of its pictures, such as {next(iter(names.values()))!r}, has the name of one of "
            f"the ground truth, such as {own!r}; image_id was taken for the ground truth's id: "
            "check that it is."
        )
        return numbers, [hint]
    if doubled is not None:
        number, one, other = doubled
        raise ValueError(
            f"Expected one picture for each image_id in {source}, but got {number} for {one!r} and "
            f"for {other!r}; evaluate predictions of several runs apart, or number their pictures "
            "anew."
        )
    for index, number in enumerate(numbers):
        ids = found.get(number, [])
        if len(ids) != 1:
            got = f"image_id {number!r} without a name"
            if number in names:
                got = f"{names[number]!r}, which {'several images have' if ids else 'no image has'}"
            # By its number it would be another one.
            raise ValueError(
                f"Expected a picture of the ground truth in {where(index)}, but got {got}; predict "
                "on the pictures of the ground truth alone, in their folders."
            )
    return [found[number][0] for number in numbers], []


def _names_of(listed: Mapping[str, Any], kind: str, key: str) -> dict[Any, str]:
    """Return the names that results in the form of a data set list, by number."""
    entries = listed.get(kind)
    return {
        entry["id"]: str(entry[key])
        for entry in (entries if isinstance(entries, list) else [])
        if isinstance(entry, dict)
        and isinstance(entry.get("id"), (int, float, str))
        and entry.get(key)
    }


def _names_of_pictures(
    numbers: Sequence, entries: Sequence[dict]
) -> tuple[dict[Any, str], tuple[Any, str, str] | None]:
    """Return the names that detections give their pictures, and a number that has two of them."""
    names: dict[Any, str] = {}
    doubled = None
    for number, entry in zip(numbers, entries, strict=True):
        if entry.get("file_name"):
            name = str(entry["file_name"])
            if names.setdefault(number, name) != name:
                doubled = doubled or (number, names[number], name)
    return names, doubled


def _by_path(names: Mapping[Any, str], used: Collection, images: Sequence[dict]) -> dict[Any, list]:
    """Return the ids of the images that each number may mean, by the path of its picture.

    The paths of either side may begin in another folder, unless all that are used are the same.
    """
    known: dict[str, list[tuple[tuple[str, ...], Any]]] = {}
    for image in images:
        if image.get("file_name"):
            parts = _parts(image["file_name"])
            known.setdefault(parts[-1], []).append((parts, image["id"]))
    whole: dict[Any, list] = {}
    ends: dict[Any, list] = {}
    for number, name in names.items():
        parts = _parts(name)
        alike = known.get(parts[-1], [])
        whole[number] = [id_ for other, id_ in alike if other == parts]
        ends[number] = [
            id_
            for other, id_ in alike
            if all(a == b for a, b in zip(reversed(parts), reversed(other), strict=False))
        ]
    return whole if all(len(whole.get(number, [])) == 1 for number in used) else ends


def _parts(name: object) -> tuple[str, ...]:
    return PurePosixPath(str(name).replace("\\", "/")).parts or ("-",)


def _category_ids(
    listed: Mapping[str, Any],
    entries: Sequence[dict],
    categories: Sequence[dict],
    where: Callable[[int], str],
) -> list:
    """Return the ground truth's category of each detection.

    Labelling tools and detectors number the same classes in orders of their own.
    """
    numbers = _numbers(entries, "category_id", where)
    own = _names_of(listed, "categories", "name")
    names = [own.get(n) for n in numbers] if own else [e.get("category") for e in entries]
    ids = {str(category["name"]): category["id"] for category in categories if "name" in category}
    known = {id_: name for name, id_ in ids.items()}
    found = list(numbers)
    nameless = None
    for index, (number, name) in enumerate(zip(numbers, names, strict=True)):
        if not isinstance(name, str) or not name:
            nameless = index if nameless is None else nameless
        elif name in ids:
            found[index] = ids[name]
        elif name.strip().casefold() != known.get(number, "").strip().casefold():
            # By its number it would be another one.
            raise ValueError(
                f"Expected a category of the ground truth in {where(index)}, but got {name!r} "
                f"(category_id {number!r}), whose name none of them has; map the detector's labels "
                "to the names of the ground truth, or leave such detections out; where the ids are "
                "right, leave the names out."
            )
    if nameless is not None and (own or found != numbers):
        raise ValueError(
            f"Expected the name of a category in {where(nameless)}, as others have one, but got "
            f"category_id {numbers[nameless]!r} alone; name the categories of all."
        )
    _check_known(found, "category_id", categories, where)
    return found


def _numbers(entries: Sequence[dict], key: str, where: Callable[[int], str]) -> list:
    for index, entry in enumerate(entries):
        if key not in entry:
            raise ValueError(
                f"Expected {key} in {where(index)}, but got the fields "
                f"{sorted(map(str, entry))}; write the detections as COCO results."
            )
    return fields.ids([entry[key] for entry in entries], key, where)


def _check_known(
    values: Sequence, key: str, known: Sequence[dict], where: Callable[[int], str]
) -> None:
    advice = {
        "image_id": "check that the results are for the images of this ground truth",
        "category_id": "map the detector's labels to the category ids of the ground truth",
    }[key]
    ids: Container = {entry["id"] for entry in known}
    for index, value in enumerate(values):
        if value not in ids:
            text = any(isinstance(i["id"], str) for i in known[:1])
            kind = ""
            if known and text is not isinstance(value, str):
                kind = f" (ids are {'texts' if text else 'numbers'} there)"
            raise ValueError(
                f"Expected as {key} one of the ground truth's in {where(index)}, but got "
                f"{value!r}, which it does not have{kind}; {advice}."
            )


def _check_scores(entries: Sequence[dict], where: Callable[[int], str]) -> None:
    values = [entry.get("score") for entry in entries]
    scores = fields.numbers(values, "score", where, "write the confidence of the detection")
    wrong = np.flatnonzero(~np.isfinite(scores))
    if wrong.size:
        raise ValueError(
            f"Expected a finite score in {where(int(wrong[0]))}, but got {values[wrong[0]]}; the "
            "model that produced it has diverged, or its scores were divided by 0."
        )


def _check_boxes(
    entries: Sequence[dict], sizes: np.ndarray, where: Callable[[int], str]
) -> list[str]:
    values = [entry["bbox"] for entry in entries]
    boxes = fields.boxes_array(values, where)
    finite = np.isfinite(boxes).all(axis=1)
    positive = (boxes[:, 2:] >= 0).all(axis=1)
    for good, needed in ((finite, "of finite numbers"), (positive, "of no negative size")):
        if not good.all():
            index = int(np.flatnonzero(~good)[0])
            raise ValueError(
                f"Expected a box [x, y, width, height] {needed} as bbox in {where(index)}, but got "
                f"{values[index]}; corners [x1, y1, x2, y2] have to be converted to x, y, width, "
                "height."
            )
    count = f"The {len(boxes)} boxes of the results"
    if looks_like_fractions(boxes):
        return [f"{count} look like fractions of their image; write them in pixels."]
    if looks_like_corners(boxes, *sizes.T):
        return [f"{count} look like corners [x1, y1, x2, y2]; write [x, y, width, height]."]
    return []


def _check_masks(checked: Sequence[dict], sizes: np.ndarray, where: Callable[[int], str]) -> None:
    if np.isnan(sizes).any():
        index = int(np.flatnonzero(np.isnan(sizes).any(axis=1))[0])
        raise ValueError(
            f"Expected width and height in image {checked[index]['image_id']} of the ground truth, "
            "but there are none; masks cannot be evaluated without them."
        )
    masks = [detection["segmentation"] for detection in checked]
    lists = [index for index, mask in enumerate(masks) if not isinstance(mask, dict)]
    if not all_polygons_sound([masks[index] for index in lists]):
        for index in lists:
            try:
                if not isinstance(masks[index], list):
                    raise MaskFault
                sound = sound_polygons(masks[index]).sound
            except MaskFault:
                sound = []
            if not sound:
                raise ValueError(mask_refusal(masks[index], where(index)))
            checked[index]["segmentation"] = sound
    objects = [index for index, mask in enumerate(masks) if isinstance(mask, dict)]
    check_run_lengths(checked, objects, sizes, where)
    for detection, (width, height) in zip(checked, sizes.tolist(), strict=True):
        detection["segmentation"] = as_run_lengths(
            detection["segmentation"], int(height), int(width)
        )


def _size(image: dict) -> tuple[float, float]:
    width, height = image.get("width"), image.get("height")
    return (np.nan if width is None else width), (np.nan if height is None else height)
