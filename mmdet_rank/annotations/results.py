"""COCO results: what detectors wrote, checked against the ground truth."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
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
    ``annotations`` that have a ``score``, whose images and categories are then those of the ground
    truth with the same ``file_name`` and ``name``, where the file has such lists.

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
    entries, translate = _entries(results, ground_truth, source)
    where = fields.namer("detection", source)
    fields.refuse_other_than_objects(entries, "detection", source)
    image_ids = _references(entries, "image_id", ground_truth["images"], where, translate)
    category_ids = _references(entries, "category_id", ground_truth["categories"], where, translate)
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
    hints = []
    if iou_type == "bbox" or all(entry.get("bbox") for entry in entries):
        hints = _check_boxes(entries, own, where)
        for detection, entry in zip(checked, entries, strict=True):
            detection["bbox"] = entry["bbox"]
    if iou_type == "segm":
        _check_masks(checked, own, where)
    elif iou_type == "keypoints":
        for index, detection in enumerate(checked):
            check_keypoints(detection["keypoints"], where(index))
    return CocoResults(checked, hints)


def _entries(
    results: object, ground_truth: Mapping[str, Any], source: str
) -> tuple[list, dict[str, dict]]:
    """Return the detections of a file, and what its ids mean among those of the ground truth."""
    translate: dict[str, dict] = {}
    if isinstance(results, dict) and isinstance(results.get("annotations"), list):
        entries = results["annotations"]
        if entries and not any(isinstance(e, dict) and "score" in e for e in entries):
            raise ValueError(
                f"Expected detections with a score in {source}, but got COCO annotations without "
                "any; pass the file that the detector wrote."
            )
        translate["image_id"] = _translation(results, ground_truth, "images", "file_name")
        translate["category_id"] = _translation(results, ground_truth, "categories", "name")
    elif isinstance(results, list):
        entries = results
        translate["image_id"] = _by_file_name(entries, ground_truth["images"], source)
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
    return entries, translate


def _translation(results: dict, ground_truth: Mapping[str, Any], kind: str, key: str) -> dict:
    """Return the ground truth's id of each id of a data set, by a name that both have."""
    entries = results.get(kind)
    if not isinstance(entries, list):
        return {}
    known = {str(entry[key]): entry["id"] for entry in ground_truth[kind] if entry.get(key)}
    return {
        entry["id"]: known[str(entry[key])]
        for entry in entries
        if isinstance(entry, dict)
        and isinstance(entry.get("id"), (int, float, str))
        and str(entry.get(key)) in known
    }


def _by_file_name(entries: list, images: Sequence[dict], source: str) -> dict:
    """Return the ground truth's id of each image id, where the detections name their pictures.

    Predictions on a folder number its pictures, whatever ids the ground truth has. The paths of
    either side may begin in another folder. Empty where no name is known.
    """
    if not (entries and isinstance(entries[0], dict) and "file_name" in entries[0]):
        return {}
    known: dict[str, list[tuple[tuple[str, ...], Any]]] = {}
    for image in images:
        parts = _parts(image.get("file_name"))
        known.setdefault(parts[-1], []).append((parts, image["id"]))
    found: dict = {}
    names: dict = {}
    doubled: list[tuple] = []
    missing = []
    for index, entry in enumerate(entries):
        number = entry.get("image_id") if isinstance(entry, dict) else None
        if not isinstance(number, (int, float, str)):
            continue
        name = entry.get("file_name")
        if number in names:
            if name is not None and name != names[number]:
                doubled.append((number, names[number], name))
            continue
        names[number] = name
        parts = _parts(name)
        ids = [
            id_
            for other, id_ in known.get(parts[-1], [])
            if all(a == b for a, b in zip(reversed(parts), reversed(other), strict=False))
        ]
        if len(ids) == 1:
            found[number] = ids[0]
        else:
            missing.append((index, name, len(ids)))
    if found and doubled:
        number, one, other = doubled[0]
        raise ValueError(
            f"Expected one picture for each image_id in {source}, but got {number} for {one!r} and "
            f"for {other!r}; evaluate predictions of several runs apart, or number their pictures "
            "anew."
        )
    told = [each for each in missing if found or each[2]]
    if told:
        index, name, several = told[0]
        raise ValueError(
            f"Expected a picture of the ground truth in {fields.namer('detection', source)(index)},"
            f" but got {name!r}, which {'several images have' if several else 'no image has'}; "
            "predict on the pictures of the ground truth alone, in their folders."
        )
    return found


def _parts(name: object) -> tuple[str, ...]:
    return PurePosixPath(str(name or "-").replace("\\", "/")).parts or ("-",)


def _references(
    entries: Sequence[dict],
    key: str,
    known: Sequence[dict],
    where: Callable[[int], str],
    translate: Mapping[str, dict],
) -> list:
    advice = {
        "image_id": "check that the results are for the images of this ground truth",
        "category_id": "map the detector's labels to the category ids of the ground truth",
    }[key]
    for index, entry in enumerate(entries):
        if key not in entry:
            raise ValueError(
                f"Expected {key} in {where(index)}, but got the fields "
                f"{sorted(map(str, entry))}; write the detections as COCO results."
            )
    values = fields.ids([entry[key] for entry in entries], key, where)
    meaning = translate.get(key)
    name = {"image_id": "file_name", "category_id": "name"}[key]
    if meaning:
        for index, value in enumerate(values):
            # By its number it would be another one's.
            if value not in meaning:
                raise ValueError(
                    f"Expected as {key} one of the ground truth's in {where(index)}, but got "
                    f"{value!r}, whose {name} none of them has; {advice}."
                )
        values = [meaning[value] for value in values]
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
    return values


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
