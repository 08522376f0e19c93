"""The check of the objects of an annotation file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as mask_utils

from . import fields
from .boxes import looks_like_corners, looks_like_fractions, visible_area
from .found import ADVICE, CocoAnnotations
from .run_lengths import as_run_lengths, check_run_lengths
from .segmentations import MaskFault, all_polygons_sound, mask_refusal, sound_polygons

__all__ = ["ObjectsCheck", "check_keypoints"]


class ObjectsCheck:
    """The check of the objects of one file."""

    def __init__(
        self,
        found: CocoAnnotations,
        use: str,
        iou_types: tuple[str, ...],
        sizes: NDArray[np.float64],
    ) -> None:
        self.found = found
        self.training = use == "training"
        self.iou_types = iou_types
        self.sizes = sizes
        self.entries: list[dict] = found.dataset["annotations"]
        self.where = fields.namer("annotation", found.source)
        self.keep = np.ones(len(self.entries), dtype=bool)

    def check(self) -> None:
        """Check the objects, and put those that are left into the data set."""
        found, source = self.found, self.found.source
        needed = ("image_id", "category_id", *(("bbox", "area") if self.training else ()))
        fields.refuse_missing(self.entries, "annotations", needed, source)
        image = self._references("image_id", found.dataset["images"], "images")
        self._references("category_id", found.dataset["categories"], "categories")
        self._flags()
        boxes = self._boxes(image)
        self._areas()
        if "segm" in self.iou_types:
            self._masks(image)
            self._mask_areas(image)
        if "keypoints" in self.iou_types:
            self._keypoints()
        if boxes is not None:
            self._hints(boxes, image)
        if self.keep.all():
            kept = self.entries
        else:
            kept = [e for e, keep in zip(self.entries, self.keep.tolist(), strict=True) if keep]
        for number, entry in enumerate(kept, start=1):
            entry["id"] = number
        found.dataset["annotations"] = kept
        if not self.training and found.num_objects and all(e["iscrowd"] for e in kept):
            found.hints.append(
                "All objects are crowds (iscrowd 1), which are not to be found: every figure is "
                "undefined."
            )
        lost = sum(found.left_out.values())
        if found.num_objects and self.training and lost == found.num_objects:
            raise ValueError(
                f"Expected objects to train on in {source}, but all are left out. "
                + " ".join(found.problems)
            )

    def _leave_out(self, wrong: Any, reason: str, refusal: Callable) -> None:
        """Take objects out in training; in evaluation raise what ``refusal`` makes of the first."""
        wrong = wrong & self.keep
        if not wrong.any():
            return
        first = int(np.flatnonzero(wrong)[0])
        if not self.training:
            raise ValueError(refusal(first))
        self.found.left_out[reason] = int(np.count_nonzero(wrong))
        self.found.first[reason] = first
        self.keep &= ~wrong

    def _references(self, key: str, entries: list[dict], what: str) -> NDArray[np.int64]:
        """Check the ids by which objects name an image or a category; return its position."""
        values = fields.ids([entry[key] for entry in self.entries], key, self.where)
        if values and entries and isinstance(values[0], str) != isinstance(entries[0]["id"], str):
            raise ValueError(
                f"Expected {key} of the type that the ids of the {what} have in "
                f"{self.found.source}, but got {values[0]!r} in annotation 0, where the {what} "
                f"have ids like {entries[0]['id']!r}; write both as numbers."
            )
        for entry, value in zip(self.entries, values, strict=True):
            entry[key] = value
        position = {entry["id"]: index for index, entry in enumerate(entries)}
        found = np.fromiter((position.get(v, -1) for v in values), np.int64, len(values))
        singular = key.removesuffix("_id")
        reason = f"{key} that no {singular} has"
        self._leave_out(
            found < 0,
            reason,
            lambda i: (
                f"Expected as {key} one of the {what} of {self.found.source} in {self.where(i)}, "
                f"but got {values[i]!r}, which it does not have; {ADVICE[reason]}."
            ),
        )
        return found

    def _flags(self) -> None:
        for key in ("iscrowd", "ignore"):
            if key == "ignore" and not any(key in entry for entry in self.entries):
                continue
            given = [entry.get(key, 0) for entry in self.entries]
            values, mended = fields.flags(given, key, self.where)
            for entry, value in zip(self.entries, values, strict=True):
                entry[key] = value
            if mended and not self.training:
                first = next(i for i, e in enumerate(given) if not isinstance(e, (int, float)))
                raise ValueError(
                    f"Expected 0 or 1 as {key} in {self.where(first)}, but got "
                    f"{fields.describe(given[first])}; write 0 or 1."
                )
            if mended:
                self.found.mended[f"Read {key} written as text or null as a number"] = mended
            if key == "ignore" and self.training:
                self._leave_out(np.array(values, dtype=bool), "marked 'ignore'", str)

    def _boxes(self, image: NDArray[np.int64]) -> NDArray[np.float64] | None:
        if not self.training and "segm" in self.iou_types and len(self.iou_types) == 1:
            return None
        fields.refuse_missing(self.entries, "annotations", ("bbox",), self.found.source)
        values = [entry["bbox"] for entry in self.entries]
        boxes = fields.boxes_array(values, self.where)
        x, y, w, h = boxes.T

        def refusal(needed: str) -> Callable[[int], str]:
            return lambda i: (
                f"Expected a box [x, y, width, height] {needed} as bbox in {self.where(i)}, but "
                f"got {values[i]}; corners [x1, y1, x2, y2] have to be converted to x, y, width, "
                "height."
            )

        finite = np.isfinite(boxes).all(axis=1)
        self._leave_out(~finite, "box that is not finite", refusal("of finite numbers"))
        self._leave_out((w < 0) | (h < 0), "box of negative size", refusal("of no negative size"))
        if self.training:
            self._leave_out((w < 1) | (h < 1), "box under one pixel", str)
            width, height = self.sizes[image].T if len(self.sizes) else (x, y)
            with np.errstate(invalid="ignore"):
                outside = visible_area(boxes, width, height) == 0
            self._leave_out(
                outside, "box outside of the width and height stated for its image", str
            )
        return boxes

    def _areas(self) -> None:
        """Check areas; those that are not given are of the box, or later of the mask."""
        given = [i for i, entry in enumerate(self.entries) if "area" in entry]
        values = [self.entries[index]["area"] for index in given]
        advice = "write width x height of the box, or the area of the mask"
        areas = np.ones(len(self.entries))
        areas[given] = fields.numbers(values, "area", lambda i: self.where(given[i]), advice)
        if self.training:
            with np.errstate(invalid="ignore"):
                self._leave_out(~(areas > 0), "area of 0 or less", str)
            return
        self._leave_out(
            ~((areas >= 0) & (areas <= fields.HUGE)),
            "",
            lambda i: (
                f"Expected an area from 0 to {fields.HUGE:.0e} in {self.where(i)}, but got "
                f"{self.entries[i]['area']!r}, which is in no size range; {advice}."
            ),
        )
        if "segm" not in self.iou_types:
            for entry in self.entries:
                if "area" not in entry:
                    entry["area"] = entry["bbox"][2] * entry["bbox"][3]

    def _masks(self, image: NDArray[np.int64]) -> None:
        """Check masks, and drop parts of them that have no inside."""
        masks = [entry.get("segmentation") for entry in self.entries]
        lists = [index for index, mask in enumerate(masks) if not isinstance(mask, dict)]
        dropped = 0
        useless = np.zeros(len(masks), dtype=bool)
        if not all_polygons_sound([masks[index] for index in lists]):
            for index in lists:
                mask = masks[index]
                if mask is None or mask == "" or mask == []:
                    useless[index] = True
                    continue
                try:
                    if not isinstance(mask, list):
                        raise MaskFault
                    polygons = sound_polygons(mask)
                except MaskFault:
                    raise ValueError(mask_refusal(mask, self.where(index))) from None
                useless[index] = not polygons.sound
                if polygons.sound and polygons.dropped:
                    self.entries[index]["segmentation"] = polygons.sound
                    dropped += polygons.dropped
        if dropped:
            self.found.mended["Left out a part of a mask that has no three points"] = dropped
        check_run_lengths(
            self.entries,
            [index for index, mask in enumerate(masks) if isinstance(mask, dict)],
            self.sizes[image] if len(self.sizes) else self.sizes,
            self.where,
            skip=image < 0,
        )
        self._without_mask(useless)

    def _mask_areas(self, image: NDArray[np.int64]) -> None:
        """Give objects without an area that of their mask."""
        for index, entry in enumerate(self.entries):
            if "area" not in entry and entry.get("segmentation") and image[index] >= 0:
                width, height = map(int, self.sizes[image[index]])
                mask = as_run_lengths(entry["segmentation"], height, width)
                entry["area"] = float(mask_utils.area(mask))

    def _without_mask(self, useless: NDArray[np.bool_]) -> None:
        """Mark objects without a mask as crowds, which training ignores."""
        reason = "segmentation that is not a mask"
        before = self.keep.copy()
        self._leave_out(
            useless,
            reason,
            lambda i: mask_refusal(self.entries[i].get("segmentation"), self.where(i)),
        )
        for index in np.flatnonzero(before & ~self.keep).tolist():
            self.entries[index].update(iscrowd=1, segmentation=[[0.0] * 6])
        self.keep = before

    def _keypoints(self) -> None:
        for index, entry in enumerate(self.entries):
            check_keypoints(entry.get("keypoints"), self.where(index))
            entry.setdefault("num_keypoints", sum(v > 0 for v in entry["keypoints"][2::3]))

    def _hints(self, boxes: NDArray[np.float64], image: NDArray[np.int64]) -> None:
        """Look at all boxes together."""
        finite = np.isfinite(boxes).all(axis=1) & (image >= 0)
        boxes = boxes[finite]
        if not len(boxes):
            return
        hints = []
        if looks_like_fractions(boxes):
            hints.append("boxes look like fractions of their image; write them in pixels")
        elif looks_like_corners(boxes, *self.sizes[image[finite]].T):
            hints.append("boxes look like corners [x1, y1, x2, y2]; write [x, y, width, height]")
        self.found.hints += [f"The {len(boxes)} {hint}." for hint in hints]


def check_keypoints(points: Any, where: str) -> None:
    """Raise ValueError unless keypoints are triples of finite numbers."""
    triples = isinstance(points, (list, tuple)) and points and len(points) % 3 == 0
    if triples and all(map(fields.is_finite, points)):
        return
    raise ValueError(
        f"Expected keypoints [x, y, visibility, ...] of finite numbers in {where}, but got "
        f"{fields.describe(points)}; write three numbers for each point."
    )
