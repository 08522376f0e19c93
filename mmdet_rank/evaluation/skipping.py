"""pycocotools' evaluation without its work on images that have no object of a category."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from pycocotools.cocoeval import COCOeval

__all__ = ["SkippingCOCOeval"]


class SkippingCOCOeval(COCOeval):
    """pycocotools' evaluation, which matches nothing where there is nothing to match.

    Most images have detections of categories that they have no object of: these are false
    positives at every IoU, in order of score, and differ between size ranges by their sizes alone.
    The figures, and what it finds in each image, are those of ``COCOeval``.
    """

    _bar: Any = None
    #: Category, limit and number of IoUs that the entries of ``_unmatched`` belong to.
    _of: tuple | None = None
    _unmatched: dict[Any, tuple[dict, np.ndarray] | None]

    @contextlib.contextmanager
    def watched(self, progress: Callable[..., Any] | None) -> Iterator[None]:
        """Show a progress bar while the body runs."""
        if progress is None:
            yield
            return
        params = self.params
        with progress(total=len(params.imgIds) * len(params.catIds) * len(params.areaRng)) as bar:
            self._bar = bar
            yield
            self._bar = None

    def evaluate(self) -> None:
        """See ``COCOeval``."""
        self._of = None
        super().evaluate()

    def computeIoU(self, image: Any, category: Any) -> Any:
        """See ``COCOeval``."""
        if self._has_objects(image, category):
            return super().computeIoU(image, category)
        return []

    def evaluateImg(self, image: Any, category: Any, size: list, most: int) -> dict | None:
        """See ``COCOeval``."""
        if self._bar is not None:
            self._bar.update(1)
        if self._has_objects(image, category):
            return super().evaluateImg(image, category, size, most)
        key = category, most, len(self.params.iouThrs)
        if key != self._of:
            # The size ranges of a category come one after another.
            self._of, self._unmatched = key, {}
        if image not in self._unmatched:
            self._unmatched[image] = self._find_unmatched(image, category, most)
        found = self._unmatched[image]
        if found is None:
            return None
        common, area = found
        ignored = (area < size[0]) | (area > size[1])
        return {
            **common,
            "aRng": size,
            "dtIgnore": np.repeat(ignored[None], len(self.params.iouThrs), axis=0),
        }

    def _has_objects(self, image: Any, category: Any) -> bool:
        return not self.params.useCats or bool(self._gts.get((image, category)))

    def _find_unmatched(
        self, image: Any, category: Any, most: int
    ) -> tuple[dict, np.ndarray] | None:
        """Everything that all size ranges share, and the sizes of the detections."""
        detections = self._dts.get((image, category))
        if not detections:
            return None
        order = np.argsort([-d["score"] for d in detections], kind="mergesort")[:most]
        detections = [detections[place] for place in order]
        thresholds = len(self.params.iouThrs)
        common = {
            "image_id": image,
            "category_id": category,
            "maxDet": most,
            "dtIds": [d["id"] for d in detections],
            "gtIds": [],
            "dtMatches": np.zeros((thresholds, len(detections))),
            "gtMatches": np.zeros((thresholds, 0)),
            "dtScores": [d["score"] for d in detections],
            "gtIgnore": np.zeros(0),
        }
        return common, np.array([d["area"] for d in detections])
