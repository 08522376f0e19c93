"""COCO evaluation on faster-coco-eval: the matches of pycocotools in less time.

Its C++ code matches without a Python object per image and category. What LRP Error needs of a
match it says only for all size ranges at once, so it is asked once more for each range at one
threshold, with the IoUs that it has already. AP differs by rounding, 1e-16: pycocotools adds the
smallest number that it can to the denominator of precision.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import importlib.util
from collections.abc import Callable, Container, Iterator
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from .lrp import MatchedDetections

__all__ = ["BACKENDS", "choose_backend", "collect_faster_matches", "make_faster_eval"]

#: What a user may ask for.
BACKENDS = ("auto", "faster", "pycocotools")


def choose_backend(backend: str, ground_truth_ids: Container[int] = ()) -> str:
    """Which backend evaluates.

    Args:
        backend: one of ``BACKENDS``; ``auto`` takes faster-coco-eval where it is installed.
        ground_truth_ids: ids of the objects. With an object of id 0, whose matches pycocotools
            takes for none, ``auto`` leaves the work to pycocotools.

    Raises:
        ValueError: for another backend.
        ImportError: when ``faster`` is wanted and not installed.

    >>> choose_backend("pycocotools")
    'pycocotools'
    """
    if backend not in BACKENDS:
        raise ValueError(f"Expected the backend to be one of {BACKENDS}, but got {backend!r}.")
    if backend == "auto":
        wanted = _is_installed() and 0 not in ground_truth_ids
        return "faster" if wanted else "pycocotools"
    if backend == "faster" and not _is_installed():
        raise ImportError(
            "Expected the faster-coco-eval package for backend='faster', but it is not installed; "
            "install it with `pip install faster-coco-eval`, or choose backend='pycocotools'."
        )
    return backend


def make_faster_eval(ground_truth: COCO, results: COCO, iou_type: str) -> COCOeval:
    """An evaluation with pycocotools' attributes and summary; see ``pycocotools.COCOeval``."""
    return _evaluation_class()(ground_truth, results, iou_type)


def collect_faster_matches(
    coco_eval: Any, tau: float = 0.5, max_dets: int | None = None
) -> dict[str, dict[Any, MatchedDetections]]:
    """Collect the matched detections of an evaluation after ``evaluate()``.

    Arguments and result as in ``coco.collect_matches``.
    """
    params = coco_eval.params
    most = params.maxDets[-1] if max_dets is None else min(max_dets, params.maxDets[-1])
    objects = _Columns(coco_eval.cocoGt, params)
    detections = _Columns(coco_eval.cocoDt, params).in_order_of_score(most)
    # As lists, which C++ reads faster than arrays, once for all sizes.
    ious = [
        [np.asarray(coco_eval.ious[i, c])[:most].tolist() for c in params.catIds]
        for i in params.imgIds
    ]
    by_category = [np.flatnonzero(detections.category == id_) for id_ in params.catIds]
    matches: dict[str, dict] = {}
    for name, (low, high) in zip(params.areaRngLbl, params.areaRng, strict=True):
        left_out = objects.ignored | (objects.area < low) | (objects.area > high)
        # What matches nothing counts by its own size, what matches by that of the object.
        counted = (detections.area >= low) & (detections.area <= high)
        is_tp = np.zeros(len(counted), dtype=bool)
        quality = np.zeros(len(counted))
        for pair, value in _match(coco_eval, ious, tau, [low, high], most).items():
            detection, object_ = map(int, pair.split("_"))
            row = detections.row_of[detection]
            counted[row] = is_tp[row] = not left_out[objects.row_of[object_]]
            quality[row] = value if is_tp[row] else 0.0
        matches[name] = {}
        for category, rows in zip(params.catIds, by_category, strict=True):
            rows = rows[counted[rows]]
            num_gt = np.count_nonzero((objects.category == category) & ~left_out)
            matches[name][category] = MatchedDetections(
                detections.score[rows], is_tp[rows], quality[rows], int(num_gt)
            )
    return matches


def _match(
    coco_eval: Any, ious: list, tau: float, size_range: list[float], most: int
) -> dict[str, float]:
    """Localisation quality of each match in one size range, by "DETECTION_OBJECT"."""
    from faster_coco_eval import faster_eval_api_cpp

    params = copy.copy(coco_eval.params)
    params.iouThrs, params.recThrs = np.array([tau]), np.array([0.0])
    params.areaRng, params.areaRngLbl = [size_range], ["range"]
    params.maxDets = [most]
    datasets = coco_eval.gt_dataset, coco_eval.dt_dataset
    return faster_eval_api_cpp.COCOevalEvaluateAccumulate(
        params, ious, *datasets, params.imgIds, params.catIds, True
    )["matched"]


class _Columns:
    """The annotations of an evaluation's images and categories, an array per field."""

    def __init__(self, coco: COCO, params: Any) -> None:
        kept = coco.loadAnns(coco.getAnnIds(imgIds=params.imgIds, catIds=params.catIds))
        images = {id_: row for row, id_ in enumerate(params.imgIds)}
        number = len(kept)
        self.id = np.fromiter((a["id"] for a in kept), np.int64, number)
        self.image = np.fromiter((images[a["image_id"]] for a in kept), np.int64, number)
        self.category = np.fromiter((a["category_id"] for a in kept), np.int64, number)
        self.area = np.fromiter((a["area"] for a in kept), np.float64, number)
        self.score = np.fromiter((a.get("score", 0.0) for a in kept), np.float64, number)
        self.ignored = np.fromiter((bool(a.get("ignore", 0)) for a in kept), bool, number)
        self._index()

    def in_order_of_score(self, most: int) -> _Columns:
        """By category and image those of the highest scores, as pycocotools takes them."""
        order = np.lexsort((-self.score, self.image, self.category))
        group = np.stack([self.category[order], self.image[order]])
        starts = np.flatnonzero(np.append(True, (group[:, 1:] != group[:, :-1]).any(axis=0)))
        lengths = np.diff(np.append(starts, len(order)))
        place = np.arange(len(order)) - np.repeat(starts, lengths)
        kept = copy.copy(self)
        for name in ("id", "image", "category", "area", "score", "ignored"):
            setattr(kept, name, getattr(self, name)[order[place < most]])
        kept._index()
        return kept

    def _index(self) -> None:
        self.row_of = {id_: row for row, id_ in enumerate(self.id.tolist())}


def _is_installed() -> bool:
    return importlib.util.find_spec("faster_coco_eval") is not None


@functools.cache
def _evaluation_class() -> type:
    from faster_coco_eval import COCOeval_faster

    class FasterEval(COCOeval_faster):
        """faster-coco-eval's matching and pycocotools' own summary."""

        #: pycocotools takes 100 detections for AP, and faster-coco-eval the last of ``maxDets``.
        summarize = COCOeval.summarize

        def __init__(self, ground_truth: COCO, results: COCO, iou_type: str) -> None:
            # Given later, so that keypoints take the categories that pycocotools takes.
            super().__init__(None, results, iou_type, print_function=lambda *_: None)
            self.bar: Any = None
            self.cocoGt = ground_truth
            self.params.imgIds = sorted(ground_truth.getImgIds())
            self.params.catIds = sorted(ground_truth.getCatIds())

        @contextlib.contextmanager
        def watched(self, progress: Callable[..., Any] | None) -> Iterator[None]:
            """Show a progress bar over images and categories while the body runs."""
            if progress is None:
                yield
                return
            total = len(self.params.imgIds) * len(self.params.catIds)
            with progress(total=total) as self.bar:
                yield
                # What has no objects or no detections took no time.
                self.bar.update(total - self.bar.n)
            self.bar = None

        def computeIoU(self, *pair: int) -> Any:
            return self._counted(super().computeIoU(*pair))

        def computeOks(self, *pair: int) -> Any:
            return self._counted(super().computeOks(*pair))

        def _counted(self, ious: Any) -> Any:
            if self.bar is not None:
                self.bar.update(1)
            return ious

    return FasterEval
