"""The errors of single images: what was found, what is false, what is missed, and LRP Error."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as mask_utils

from .lrp import lrp_error

__all__ = ["ImageErrors", "image_errors", "overlaps"]


@dataclass
class ImageErrors:
    """The errors of one image at given score thresholds.

    Attributes:
        right: pairs of a detection and its localisation quality (IoU).
        false: detections without an object.
        missed: objects without a detection.
        tau: IoU from which on a detection is right.
    """

    right: list[tuple[Mapping, float]] = field(default_factory=list)
    false: list[Mapping] = field(default_factory=list)
    missed: list[Mapping] = field(default_factory=list)
    tau: float = 0.5

    @property
    def lrp(self) -> float:
        """LRP Error (thesis Eq. 5.1) over all classes; 0 of an empty image without detections."""
        if not (self.right or self.false or self.missed):
            return 0.0
        qualities = [quality for _, quality in self.right]
        error = lrp_error(qualities, len(self.false), len(self.missed), tau=self.tau)
        return float(error.lrp)


def image_errors(
    ground_truth: Mapping[str, Sequence[Mapping]],
    detections: Sequence[Mapping],
    thresholds: Mapping[str, float],
    iou_type: str = "bbox",
    tau: float = 0.5,
    max_dets: int | None = None,
) -> dict[Any, ImageErrors]:
    """Match the detections of each image as COCO does, class by class and greedily by score.

    Args:
        ground_truth: ``images``, ``annotations`` and ``categories`` of a COCO file. What lies for
            the most part in a crowd is neither right nor false.
        detections: COCO's results.
        thresholds: by name of the class, the score from which a detection counts; of a class that
            has none, no detection counts.
        iou_type: ``bbox`` or ``segm``; masks of ``ground_truth`` are then run lengths or polygons.
        tau: IoU from which on a detection is right.
        max_dets: how many detections of an image and category count, those of the highest scores;
            None for all.

    Returns:
        By image id, in the order of the file.

    Example:
        >>> truth = {"images": [{"id": 3, "width": 50, "height": 50}],
        ...          "categories": [{"id": 1, "name": "cat"}],
        ...          "annotations": [{"image_id": 3, "category_id": 1, "bbox": [0, 0, 10, 10]}]}
        >>> found = [{"image_id": 3, "category_id": 1, "bbox": [0, 0, 10, 8], "score": 0.7},
        ...          {"image_id": 3, "category_id": 1, "bbox": [20, 0, 9, 9], "score": 0.6}]
        >>> round(image_errors(truth, found, {"cat": 0.5})[3].lrp, 3)
        0.7
    """
    names = {category["id"]: category["name"] for category in ground_truth["categories"]}
    objects: dict[tuple, list[Mapping]] = defaultdict(list)
    for annotation in ground_truth["annotations"]:
        objects[annotation["image_id"], annotation["category_id"]].append(annotation)
    kept: dict[tuple, list[Mapping]] = defaultdict(list)
    for detection in detections:
        category = detection["category_id"]
        if detection["score"] >= thresholds.get(names[category], float("inf")):
            kept[detection["image_id"], category].append(detection)
    errors = {}
    for image in ground_truth["images"]:
        errors[image["id"]] = found = ImageErrors(tau=tau)
        for category in names:
            key = image["id"], category
            if objects[key] or kept[key]:
                ordered = sorted(kept[key], key=lambda detection: -detection["score"])
                _match(found, objects[key], ordered[:max_dets], image, iou_type)
    return errors


def _match(
    errors: ImageErrors,
    objects: list[Mapping],
    detections: list[Mapping],
    image: Mapping,
    iou_type: str,
) -> None:
    """Add the errors of one class in one image, whose detections come in order of score."""
    crowds = np.array([bool(o.get("iscrowd")) for o in objects], dtype=bool)
    free = ~crowds
    ious = overlaps(detections, objects, crowds, image, iou_type)
    for row, detection in enumerate(detections):
        candidates = np.where(free, ious[row], -1.0) if objects else np.empty(0)
        if candidates.size and candidates.max() >= errors.tau:
            best = int(candidates.argmax())
            free[best] = False
            errors.right.append((detection, float(candidates[best])))
        elif not (crowds.any() and ious[row][crowds].max() >= errors.tau):
            errors.false.append(detection)
    errors.missed.extend(o for o, missed in zip(objects, free, strict=True) if missed)


def overlaps(
    detections: Sequence[Mapping],
    objects: Sequence[Mapping],
    crowds: NDArray[np.bool_],
    image: Mapping,
    iou_type: str,
) -> NDArray[np.float64]:
    """IoU of the detections (rows) and objects of one image; of crowds the share inside."""
    if not detections or not objects:
        return np.zeros((len(detections), len(objects)))
    if iou_type == "bbox":
        shapes = [
            [list(map(float, item["bbox"])) for item in part] for part in (detections, objects)
        ]
    else:
        shapes = [[_as_rle(item, image) for item in part] for part in (detections, objects)]
    return np.asarray(mask_utils.iou(*shapes, crowds.astype(np.uint8).tolist()))


def _as_rle(item: Mapping, image: Mapping) -> Mapping:
    mask = item["segmentation"]
    if isinstance(mask, list):
        mask = mask_utils.merge(mask_utils.frPyObjects(mask, image["height"], image["width"]))
    elif isinstance(mask["counts"], list):
        mask = mask_utils.frPyObjects(mask, image["height"], image["width"])
    return mask
