"""Reading and checking COCO-format files, so that a mistake in one ends in one clear message."""

from __future__ import annotations

import json
import math
from collections.abc import Container
from pathlib import Path

import numpy as np
from pycocotools import mask as mask_utils

__all__ = [
    "IOU_TYPES",
    "check_annotations",
    "check_results",
    "describe",
    "index_by_id",
    "load_json",
]

IOU_TYPES = ("bbox", "segm", "keypoints")
_FIELD = {"bbox": "bbox", "segm": "segmentation", "keypoints": "keypoints"}


def load_json(path: str | Path) -> object:
    """Read a JSON file.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it is not JSON.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"Expected a JSON file but there is no file {path}.")
    try:
        return json.loads(path.read_bytes())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"Expected JSON in {path} but it cannot be read: {error}; write the file again."
        ) from None


def check_annotations(data: object, iou_type: str, source: str = "ground truth") -> dict:
    """Check COCO ground truth and return a copy that pycocotools evaluates without surprises.

    The copy has annotation ids 1, 2, ... (pycocotools takes a match with an object of id 0 for no
    match), and ``iscrowd``, ``area`` and ``num_keypoints`` where they were left out.

    Args:
        data: what was read from the file.
        iou_type: ``bbox``, ``segm`` or ``keypoints``.
        source: name of the file, for messages.

    Raises:
        ValueError: when ``data`` is not COCO ground truth for ``iou_type``; the message names the
            first annotation that is wrong.
    """
    if not isinstance(data, dict) or not all(
        isinstance(data.get(key), list) for key in ("images", "annotations", "categories")
    ):
        raise ValueError(
            f"Expected COCO ground truth in {source}, an object with the lists 'images', "
            f"'annotations' and 'categories', but got {describe(data)}; pass the annotation file."
        )
    images = index_by_id(data["images"], "image", source)
    categories = index_by_id(data["categories"], "category", source)
    names = [category.get("name") for category in categories.values()]
    if None in names or len(set(names)) < len(names):
        raise ValueError(
            f"Expected categories with distinct names in {source} but got {names}; results are "
            "reported by name, so give each category one of its own."
        )
    annotations = []
    for index, annotation in enumerate(data["annotations"]):
        where = f"annotation {index} of {source}"
        _check_ids(annotation, images, categories, where)
        annotation = {"iscrowd": 0, **annotation, "id": index + 1}
        if annotation["iscrowd"] not in (0, 1):
            raise ValueError(
                f"Expected 0 or 1 as iscrowd in {where} but got {annotation['iscrowd']!r}."
            )
        _check_object(annotation, images[annotation["image_id"]], iou_type, where, is_gt=True)
        annotations.append(annotation)
    return {**data, "annotations": annotations}


def check_results(
    results: object, ground_truth: dict, iou_type: str, source: str = "results"
) -> list[dict]:
    """Check COCO results against checked ground truth and return the part that is evaluated.

    As in pycocotools, the size of a detection (small, medium, large) is that of its box where all
    detections have one, else that of its mask or of the extent of its keypoints.

    Raises:
        ValueError: when ``results`` is not a list of COCO results, is empty, names images or
            categories that ``ground_truth`` does not have, or has scores, boxes or masks that
            cannot be; the message names the first detection that is wrong.
    """
    if not isinstance(results, list):
        raise ValueError(
            f"Expected COCO results in {source}, a list of detections, but got "
            f"{describe(results)}; pass the file that the detector wrote."
        )
    if not results:
        raise ValueError(
            f"Expected detections in {source} but the list is empty; lower the score threshold of "
            "the detector, or check that it ran on the images of the ground truth."
        )
    images = {image["id"]: image for image in ground_truth["images"]}
    categories = {category["id"] for category in ground_truth["categories"]}
    field = _FIELD[iou_type]
    all_boxes = all(isinstance(d, dict) and d.get("bbox") for d in results)
    checked = []
    for index, detection in enumerate(results):
        where = f"detection {index} of {source}"
        _check_ids(detection, images, categories, where)
        score = detection.get("score")
        if isinstance(score, bool) or not isinstance(score, (int, float)):
            raise ValueError(f"Expected a number as score in {where} but got {score!r}.")
        if not math.isfinite(score):
            raise ValueError(
                f"Expected a finite score in {where} but got {score}; the model that produced it "
                "has diverged, or its scores were divided by 0."
            )
        kept = {key: detection[key] for key in ("image_id", "category_id", "score")}
        if field not in detection:
            raise ValueError(
                f"Expected '{field}' in {where} for the IoU type {iou_type} but got the fields "
                f"{sorted(detection)}; choose the IoU type that the results are for."
            )
        kept[field] = detection[field]
        if all_boxes:
            _check_box(detection["bbox"], where)
            kept["bbox"] = detection["bbox"]
        _check_object(kept, images[kept["image_id"]], iou_type, where, is_gt=False)
        checked.append(kept)
    return checked


def _check_object(item: dict, image: dict, iou_type: str, where: str, *, is_gt: bool) -> None:
    """Check one annotation or detection, and add to it what pycocotools wants."""
    if iou_type == "bbox":
        _check_box(item.get("bbox"), where)
        if is_gt:
            item.setdefault("area", item["bbox"][2] * item["bbox"][3])
    elif iou_type == "segm":
        item["segmentation"] = _as_rle(item.get("segmentation"), image, where)
        if is_gt and "area" not in item:
            item["area"] = float(mask_utils.area(item["segmentation"]))
    else:
        points = item.get("keypoints")
        if not _is_numbers(points) or not points or len(points) % 3:
            raise ValueError(
                f"Expected keypoints [x, y, visibility, ...] of finite numbers in {where} but got "
                f"{describe(points)}."
            )
        if is_gt:
            _check_box(item.get("bbox"), where)
            item.setdefault("area", item["bbox"][2] * item["bbox"][3])
            item.setdefault("num_keypoints", sum(v > 0 for v in points[2::3]))
    area = item.get("area", 0)
    if isinstance(area, bool) or not isinstance(area, (int, float)) or not area >= 0:
        raise ValueError(f"Expected an area of 0 or more in {where} but got {area!r}.")


def _check_box(box: object, where: str) -> None:
    if not _is_numbers(box) or len(box) != 4:
        raise ValueError(
            f"Expected a box [x, y, width, height] of finite numbers in {where} but got {box!r}."
        )
    if box[2] < 0 or box[3] < 0:
        raise ValueError(
            f"Expected a box [x, y, width, height] of no negative size in {where} but got {box}; "
            "corners [x1, y1, x2, y2] have to be converted to x, y, width, height."
        )


def _as_rle(mask: object, image: dict, where: str) -> dict:
    """Return a mask (polygons, compressed or plain run lengths) as compressed run lengths."""
    size = [image.get("height"), image.get("width")]
    if not all(isinstance(side, int) and side > 0 for side in size):
        raise ValueError(
            f"Expected height and width of image {image['id']} in the ground truth but got {size}; "
            "masks cannot be evaluated without them."
        )
    if isinstance(mask, dict) and isinstance(mask.get("counts"), (str, bytes, list)):
        if mask.get("size") not in (size, tuple(size)):
            raise ValueError(
                f"Expected a mask of [height, width] {size}, the size of image {image['id']}, in "
                f"{where} but got {mask.get('size')}; masks have to be resized to the original "
                "image."
            )
        if not isinstance(mask["counts"], list):
            return mask
        counts, total = mask["counts"], size[0] * size[1]
        if not _is_numbers(counts) or any(n < 0 for n in counts) or sum(counts) != total:
            raise ValueError(
                f"Expected run lengths that add up to {size[0]} x {size[1]} in {where} but got "
                f"{describe(mask['counts'])}."
            )
        return mask_utils.frPyObjects(mask, *size)
    if isinstance(mask, list) and mask and all(_is_numbers(p) and len(p) >= 6 for p in mask):
        return mask_utils.merge(mask_utils.frPyObjects(mask, *size))
    raise ValueError(
        f"Expected a mask (a list of polygons of at least three points, or run lengths with "
        f"'size' and 'counts') in {where} but got {describe(mask)}."
    )


def _check_ids(item: object, images: Container, categories: Container, where: str) -> None:
    if not isinstance(item, dict):
        raise ValueError(f"Expected an object in {where} but got {describe(item)}.")
    advice = {
        "image_id": "check that the results are for the images of this ground truth",
        "category_id": "map the detector's labels to the category ids of the ground truth",
    }
    for key, known in (("image_id", images), ("category_id", categories)):
        value = item.get(key)
        if not isinstance(value, (int, str)) or value not in known:
            raise ValueError(
                f"Expected as {key} one of the ground truth's in {where} but got {value!r}, which "
                f"it does not have; {advice[key]}."
            )


def index_by_id(items: list, what: str, source: str) -> dict:
    """Return objects by their ``id``; raise ValueError when one has none or two share one."""
    found = {}
    for index, item in enumerate(items):
        if not isinstance(item, dict) or not isinstance(item.get("id"), (int, str)):
            raise ValueError(
                f"Expected an object with an 'id' as {what} {index} of {source} but got "
                f"{describe(item)}."
            )
        if found and type(item["id"]) is not type(next(iter(found))):
            raise ValueError(
                f"Expected {what} ids of one type in {source} but got {next(iter(found))!r} and "
                f"{item['id']!r}; write all as numbers."
            )
        if item["id"] in found:
            raise ValueError(
                f"Expected distinct {what} ids in {source} but {item['id']!r} occurs twice."
            )
        found[item["id"]] = item
    return found


def _is_numbers(values: object) -> bool:
    if not isinstance(values, (list, tuple)):
        return False
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        return False
    return array.ndim == 1 and bool(np.isfinite(array).all())


def describe(value: object) -> str:
    """Return what a value is, short enough for a message."""
    if isinstance(value, dict):
        return f"an object with the keys {sorted(map(str, value))[:6]}"
    if isinstance(value, list):
        return f"a list of {len(value)} values" + (f" from {str(value[0])[:60]}" if value else "")
    return str(value)[:60] if isinstance(value, str) else repr(value)[:60]
