"""Localisation quality by GIoU, and panoptic quality beside LRP Error."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["PanopticQuality", "giou_quality", "panoptic_quality"]

# GIoU may exceed its range by this much, by rounding.
_SLACK = 1e-9


class PanopticQuality(NamedTuple):
    """Panoptic, segmentation and recognition quality (thesis Eq. 5.1) in [0, 1] or NaN."""

    pq: float
    sq: float
    rq: float


def panoptic_quality(num_tp: int, num_fp: int, num_fn: int, iou_sum: float) -> PanopticQuality:
    """Panoptic quality and its parts from the counts of one class (thesis Eq. 5.1).

    Returns:
        NaN where there is neither ground truth nor detection. Otherwise ``PQ = SQ * RQ``, with
        ``SQ`` 0 when there is no true positive, as the COCO panoptic evaluation defines it.

    >>> panoptic_quality(num_tp=1, num_fp=1, num_fn=1, iou_sum=0.75)
    PanopticQuality(pq=0.375, sq=0.75, rq=0.5)
    """
    size = num_tp + 0.5 * num_fp + 0.5 * num_fn
    if size == 0:
        return PanopticQuality(*[float("nan")] * 3)
    return PanopticQuality(
        pq=float(iou_sum / size),
        sq=float(iou_sum / num_tp) if num_tp else 0.0,
        rq=float(num_tp / size),
    )


def giou_quality(giou: ArrayLike) -> NDArray[np.float64]:
    """Generalized IoU in [-1, 1] as a quality in [0, 1]: ``GIoU / 2 + 0.5`` (thesis 5.5.4).

    >>> giou_quality([-1.0, 0.0, 1.0])
    array([0. , 0.5, 1. ])
    """
    giou = np.asarray(giou, dtype=np.float64)
    if not ((giou >= -1 - _SLACK) & (giou <= 1 + _SLACK)).all():
        raise ValueError(
            "Expected GIoU in [-1, 1], but got values outside; pass GIoU itself, not 1 - GIoU."
        )
    return np.clip(giou / 2 + 0.5, 0.0, 1.0)
