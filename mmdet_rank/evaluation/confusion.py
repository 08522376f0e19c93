"""The confusion matrix of a detector: what is taken for what, missed, or seen in nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from .image_errors import ImageErrors, image_errors, overlaps

__all__ = ["confusion_matrix"]


def confusion_matrix(
    ground_truth: Mapping[str, Sequence[Mapping]],
    detections: Sequence[Mapping],
    threshold: float,
    iou_type: str = "bbox",
    *,
    tau: float = 0.5,
    max_dets: int | None = None,
) -> NDArray[np.int64]:
    """Count objects by their class and that of the detection which finds them.

    Detections are first matched with objects of their own class, as COCO does; each match counts on
    the diagonal, so that its share of the row is the recall and its share of the column the
    precision of the class at that confidence. Of what is left in an image, false detections and
    missed objects of different classes are paired, those of the greatest IoU first: these are the
    confusions. What still is left has the background for a partner.

    Args:
        ground_truth: content of a COCO file; crowds do not count, and neither does what lies in
            them.
        detections: COCO's results.
        threshold: confidence from which detections are kept.
        iou_type: ``bbox`` or ``segm``.
        tau: IoU from which on two belong together.
        max_dets: how many detections of an image and category count; None for all.

    Returns:
        (C + 1, C + 1): rows are the classes of objects, columns those of detections, in the order
        of ``categories``, the background last.

    Example:
        >>> box = {"image_id": 3, "category_id": 1, "bbox": [0, 0, 10, 10]}
        >>> truth = {"images": [{"id": 3}], "annotations": [box, box | {"bbox": [50, 0, 10, 10]}],
        ...          "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]}
        >>> dog = {"image_id": 3, "category_id": 2, "bbox": [0, 0, 10, 8], "score": 0.7}
        >>> confusion_matrix(truth, [dog, dog | {"bbox": [80, 0, 9, 9]}], 0.5)
        array([[0, 1, 1],
               [0, 0, 0],
               [0, 1, 0]])
    """
    names = [category["name"] for category in ground_truth["categories"]]
    place = {category["id"]: row for row, category in enumerate(ground_truth["categories"])}
    errors = image_errors(
        ground_truth, detections, dict.fromkeys(names, threshold), iou_type, tau, max_dets
    )
    counts = np.zeros((len(names) + 1, len(names) + 1), dtype=np.int64)
    for image in ground_truth["images"]:
        found = errors[image["id"]]
        for detection, _ in found.right:
            counts[place[detection["category_id"]], place[detection["category_id"]]] += 1
        false = [place[detection["category_id"]] for detection in found.false]
        missed = [place[annotation["category_id"]] for annotation in found.missed]
        for row, column in _confused(found, image, iou_type):
            counts[missed[column], false[row]] += 1
            false[row] = missed[column] = -1
        for of_detection in false:
            counts[-1, of_detection] += of_detection >= 0
        for of_object in missed:
            counts[of_object, -1] += of_object >= 0
    return counts


def _confused(found: ImageErrors, image: Mapping, iou_type: str) -> list[tuple[int, int]]:
    """Pairs of a false detection and a missed object of another class, by their places."""
    crowds = np.zeros(len(found.missed), dtype=bool)
    ious = overlaps(found.false, found.missed, crowds, image, iou_type)
    pairs: list[tuple[int, int]] = []
    for flat in np.argsort(-ious, axis=None, kind="stable"):
        row, column = divmod(int(flat), len(found.missed))
        if ious[row, column] < found.tau:
            break
        if all(row != other and column != another for other, another in pairs):
            pairs.append((row, column))
    return pairs
