"""GIoU as the localisation quality of LRP Error (thesis 5.5.4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from .quality import giou_quality

__all__ = ["GIoUEval", "check_quality", "match_by_giou", "pairwise_giou"]


class GIoUEval(COCOeval):
    """pycocotools' evaluation of boxes with ``GIoU / 2 + 0.5`` in the place of IoU.

    Everything else is unchanged, so its thresholds are in units of that quality: 0.75 is a GIoU of
    0.5. Of crowds the share of the detection inside counts, as for IoU.
    """

    def computeIoU(self, image: Any, category: Any) -> NDArray[np.float64] | list:
        """Qualities of the detections (rows, by score) and objects of an image and category."""
        ious = super().computeIoU(image, category)
        if not len(ious):
            return ious
        key = image, category
        detections = sorted(self._dts[key], key=lambda d: -d["score"])[: self.params.maxDets[-1]]
        objects = self._gts[key]
        quality = giou_quality(
            pairwise_giou([d["bbox"] for d in detections], [o["bbox"] for o in objects])
        )
        crowd = np.array([bool(o["iscrowd"]) for o in objects])
        return np.where(crowd[None], ious, quality)


def match_by_giou(
    ground_truth: COCO, results: COCO, taus: Sequence[float], max_dets: int
) -> GIoUEval:
    """Match boxes by ``GIoU / 2 + 0.5``, at its own taus (thesis 5.5.4).

    Args:
        ground_truth: indexed.
        results: loaded with it.
        taus: in units of the quality.
        max_dets: how many detections of an image and category count.
    """
    evaluation = GIoUEval(ground_truth, results, "bbox")
    evaluation.params.maxDets = [max_dets]
    evaluation.params.iouThrs = np.array(taus)
    evaluation.evaluate()
    return evaluation


def check_quality(quality: str, iou_type: str) -> None:
    """Raise ValueError unless a quality goes with what is compared."""
    if quality not in ("iou", "giou") or (quality == "giou" and iou_type != "bbox"):
        raise ValueError(
            f"Expected the quality 'iou', or 'giou' for boxes, but got {quality!r} for {iou_type}."
        )


def pairwise_giou(one: Any, other: Any) -> NDArray[np.float64]:
    """GIoU of boxes x, y, width, height: (N, M) in [-1, 1].

    Of a term that has no area to divide by nothing is counted: GIoU is 0 of boxes on one point.

    >>> pairwise_giou([[0, 0, 10, 10]], [[0, 0, 10, 10], [10, 0, 10, 10], [20, 0, 10, 10]])
    array([[ 1.        ,  0.        , -0.33333333]])
    """
    one = np.asarray(one, dtype=np.float64).reshape(-1, 1, 4)
    other = np.asarray(other, dtype=np.float64).reshape(1, -1, 4)
    low = np.maximum(one[..., :2], other[..., :2])
    high = np.minimum(one[..., :2] + one[..., 2:], other[..., :2] + other[..., 2:])
    overlap = np.maximum(high - low, 0).prod(-1)
    union = one[..., 2:].prod(-1) + other[..., 2:].prod(-1) - overlap
    low = np.minimum(one[..., :2], other[..., :2])
    high = np.maximum(one[..., :2] + one[..., 2:], other[..., :2] + other[..., 2:])
    hull = (high - low).prod(-1)
    return _share(overlap, union) - _share(hull - union, hull)


def _share(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)
