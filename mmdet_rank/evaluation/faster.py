"""COCO evaluation on faster-coco-eval: the matches of pycocotools in less time.

Its C++ code matches without a Python object per image and category. What LRP Error needs of a
match it says only for all size ranges at once, so that is matched here, at one threshold, from the
IoUs that it has already: only where a detection is near an object is there anything to do, and
size ranges share it. AP differs by rounding, 1e-16: pycocotools adds the smallest number that it
can to the denominator of precision.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from .lrp import MatchedDetections

__all__ = ["BACKENDS", "choose_backend", "collect_faster_matches", "make_faster_eval"]

#: What a user may ask for.
BACKENDS = ("auto", "faster", "pycocotools")


def choose_backend(backend: str, ground_truth: COCO | None = None) -> str:
    """Which backend evaluates.

    Args:
        backend: one of ``BACKENDS``; ``auto`` takes faster-coco-eval where it is installed.
        ground_truth: what is evaluated against. With an object of id 0, or ids of images or
            categories that are texts, ``auto`` leaves the work to pycocotools.

    Raises:
        ValueError: for another backend, or for ``faster`` with ids that are texts.
        ImportError: when ``faster`` is wanted and not installed.

    >>> choose_backend("pycocotools")
    'pycocotools'
    """
    if backend not in BACKENDS:
        raise ValueError(f"Expected the backend to be one of {BACKENDS}, but got {backend!r}.")
    texts = ground_truth is not None and any(
        isinstance(number, str) for ids in (ground_truth.imgs, ground_truth.cats) for number in ids
    )
    if backend == "auto":
        without_0 = ground_truth is None or 0 not in ground_truth.anns
        return "faster" if _is_installed() and without_0 and not texts else "pycocotools"
    if backend == "faster" and texts:
        raise ValueError(
            "Expected numbers as ids of images and categories for backend='faster', but got texts; "
            "choose backend='pycocotools'."
        )
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
    low, high = np.asarray(params.areaRng, dtype=float).T[:, :, None]
    left_out = objects.ignored | (objects.area < low) | (objects.area > high)
    # What matches nothing counts by its own size, what matches by that of the object.
    counted = (detections.area >= low) & (detections.area <= high)
    is_tp = np.zeros(counted.shape, dtype=bool)
    quality = np.zeros(counted.shape)
    threshold = min(tau, 1 - 1e-10)
    for (image, category), ious in coco_eval.ious.items():
        if not len(ious):
            continue
        ious = np.asarray(ious)[:most]
        near = ious >= threshold
        if not near.any():
            continue
        rows, columns = (c.rows_of[category, image] for c in (detections, objects))
        partners: dict[bytes, list[tuple[int, int]]] = {}
        for size, skipped in enumerate(left_out[:, columns]):
            # Only where some are left out and others are not does it change what matches what.
            key = skipped.tobytes() if skipped.any() and not skipped.all() else b""
            if key not in partners:
                partners[key] = _match(ious, near, objects.crowd[columns], skipped)
            for row, column in partners[key]:
                hit = not skipped[column]
                place = rows.start + row
                counted[size, place] = is_tp[size, place] = hit
                quality[size, place] = ious[row, column] if hit else 0.0
    matches: dict[str, dict] = {}
    for size, name in enumerate(params.areaRngLbl):
        matches[name] = {}
        for category in params.catIds:
            places = detections.places_of(category)
            places = places[counted[size, places]]
            num_gt = np.count_nonzero(~left_out[size, objects.places_of(category)])
            matches[name][category] = MatchedDetections(
                detections.score[places], is_tp[size, places], quality[size, places], int(num_gt)
            )
    return matches


def _match(
    ious: np.ndarray, near: np.ndarray, crowd: np.ndarray, left_out: np.ndarray
) -> list[tuple[int, int]]:
    """Match detections and objects of an image and category as pycocotools does.

    Each detection, in order of score, takes the nearest object that none has taken, the last of
    several at one distance, and one that is left out only when no other is near enough.

    Args:
        ious: (D, G), in order of score.
        near: (D, G) which of them are enough.
        crowd: (G,) which objects several detections may take.
        left_out: (G,) which objects do not count.

    Returns:
        Rows and columns of the matches.
    """
    order = np.argsort(left_out, kind="stable")
    rows, places = near[:, order].nonzero()
    columns = order[places]
    values = ious[rows, columns].tolist()
    taken: set[int] = set()
    matches = []
    best, latest = -1, -1
    for row, column, value in zip(rows.tolist(), columns.tolist(), values, strict=True):
        if row != latest:
            if best >= 0:
                matches.append((latest, best))
                taken.add(best)
            latest, best, most = row, -1, 0.0
        if column in taken and not crowd[column]:
            continue
        if best >= 0 and left_out[column] and not left_out[best]:
            continue
        if value >= most:
            best, most = column, value
    if best >= 0:
        matches.append((latest, best))
    return matches


class _Columns:
    """The annotations of an evaluation's images and categories, an array per field.

    They are in order of category and image, and those of one image in their own.
    """

    def __init__(self, coco: COCO, params: Any) -> None:
        wanted = set(params.catIds)
        kept = [
            annotation
            for image in params.imgIds
            for annotation in coco.imgToAnns[image]
            if annotation["category_id"] in wanted
        ]
        self._params = params
        self._categories = {id_: place for place, id_ in enumerate(params.catIds)}
        images = {id_: place for place, id_ in enumerate(params.imgIds)}

        def column(values: Iterable, dtype: type) -> np.ndarray:
            return np.fromiter(values, dtype, len(kept))

        self.image = column((images[a["image_id"]] for a in kept), np.int64)
        self.category = column((self._categories[a["category_id"]] for a in kept), np.int64)
        self.area = column((a["area"] for a in kept), np.float64)
        self.score = column((a.get("score", 0.0) for a in kept), np.float64)
        self.ignored = column((bool(a.get("ignore", 0)) for a in kept), bool)
        self.crowd = column((bool(a.get("iscrowd", 0)) for a in kept), bool)
        self._take(np.lexsort((self.image, self.category)))

    def in_order_of_score(self, most: int) -> _Columns:
        """By category and image those of the highest scores, as pycocotools takes them."""
        self._take(np.lexsort((-self.score, self.image, self.category)))
        bounds = self._bounds()
        place = np.arange(len(self.image)) - np.repeat(bounds[:-1], np.diff(bounds))
        self._take(np.flatnonzero(place < most))
        return self

    def places_of(self, category: Any) -> np.ndarray:
        """Places of all that are of a category."""
        place = self._categories[category]
        return np.arange(*np.searchsorted(self.category, (place, place + 1)))

    @functools.cached_property
    def rows_of(self) -> dict[tuple[Any, Any], slice]:
        """Where those of a category and image are."""
        bounds = self._bounds()
        starts = bounds[:-1]
        categories = map(self._params.catIds.__getitem__, self.category[starts].tolist())
        images = map(self._params.imgIds.__getitem__, self.image[starts].tolist())
        rows = map(slice, starts.tolist(), bounds[1:].tolist())
        return dict(zip(zip(categories, images, strict=True), rows, strict=True))

    def _take(self, order: np.ndarray) -> None:
        for name in ("image", "category", "area", "score", "ignored", "crowd"):
            setattr(self, name, getattr(self, name)[order])

    def _bounds(self) -> np.ndarray:
        """First place of each category and image, and behind the last."""
        changes = (np.diff(self.category) != 0) | (np.diff(self.image) != 0)
        number = len(self.image)
        return np.concatenate([np.zeros(min(number, 1), int), changes.nonzero()[0] + 1, [number]])


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
