"""The objects of a data set as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmdet_rank.annotations.records import Picture

__all__ = ["Objects"]


@dataclass(frozen=True)
class Objects:
    """Objects annotated in a data set; what is ignored in training (crowds) is not among it.

    Attributes:
        classes: (C,) names.
        sizes: (I, 2) width and height of each image in pixels.
        image: (M,) int64 place of each object's image.
        label: (M,) int64 place of its class.
        boxes: (M, 4) float64 x, y, width, height in pixels.
        masks: M polygons or run lengths in COCO's form, None where an object has none; empty where
            nobody asked.
    """

    classes: tuple[str, ...]
    sizes: NDArray[np.float64]
    image: NDArray[np.int64]
    label: NDArray[np.int64]
    boxes: NDArray[np.float64]
    masks: tuple[Any, ...] = ()

    @classmethod
    def from_coco(cls, dataset: dict) -> Objects:
        """Read the content of a COCO annotation file that has been checked.

        Args:
            dataset: ``images`` with their sizes, ``annotations``, ``categories``.

        Example:
            >>> Objects.from_coco({
            ...     "images": [{"id": 7, "width": 40, "height": 30}],
            ...     "categories": [{"id": 3, "name": "cat"}],
            ...     "annotations": [{"image_id": 7, "category_id": 3, "bbox": [0, 0, 9, 9]}],
            ... }).boxes
            array([[0., 0., 9., 9.]])
        """
        images = {image["id"]: place for place, image in enumerate(dataset["images"])}
        labels = {category["id"]: place for place, category in enumerate(dataset["categories"])}
        kept = [a for a in dataset["annotations"] if not a.get("iscrowd")]
        return cls._of(
            [category["name"] for category in dataset["categories"]],
            [(image["width"], image["height"]) for image in dataset["images"]],
            [images[a["image_id"]] for a in kept],
            [labels[a["category_id"]] for a in kept],
            [a["bbox"] for a in kept],
            [a.get("segmentation") for a in kept],
        )

    @classmethod
    def from_pictures(cls, classes: Sequence[str], pictures: Sequence[Picture]) -> Objects:
        """Read pictures as the readers of other forms than COCO give them."""
        labels = {name: place for place, name in enumerate(classes)}
        kept = [
            (place, labelled)
            for place, picture in enumerate(pictures)
            for labelled in picture.objects
            if not labelled.ignored
        ]
        return cls._of(
            classes,
            [(picture.width, picture.height) for picture in pictures],
            [place for place, _ in kept],
            [labels[labelled.category] for _, labelled in kept],
            [labelled.box for _, labelled in kept],
            [labelled.segmentation for _, labelled in kept],
        )

    @classmethod
    def _of(
        cls,
        classes: Sequence[str],
        sizes: Sequence,
        image: Sequence,
        label: Sequence,
        box: Sequence,
        masks: Sequence,
    ) -> Objects:
        return cls(
            tuple(classes),
            np.array(sizes, dtype=np.float64).reshape(-1, 2),
            np.array(image, dtype=np.int64),
            np.array(label, dtype=np.int64),
            np.array(box, dtype=np.float64).reshape(-1, 4),
            tuple(masks),
        )

    def in_order(self, classes: Sequence[str]) -> Objects:
        """The same objects, with labels that are places among the same names in another order.

        Raises:
            ValueError: the names are others.

        Example:
            >>> none = np.zeros((0, 4))
            >>> Objects(("b", "a"), none, np.array([0]), np.array([1]), none).in_order("ab").label
            array([0])
        """
        if sorted(classes) != sorted(self.classes):
            raise ValueError(
                f"Expected the classes {self.classes} in another order, but got {classes}; give "
                "each of them once."
            )
        place = {name: label for label, name in enumerate(classes)}
        labels = np.array([place[name] for name in self.classes], dtype=np.int64)
        return replace(self, classes=tuple(classes), label=labels[self.label])

    def counts(self, weights: NDArray[np.float64] | None = None) -> NDArray:
        """(C,) objects of each class, or the sum of their weights."""
        return np.bincount(self.label, weights, minlength=len(self.classes))

    def images_of_classes(self) -> NDArray[np.int64]:
        """(K, 2) pairs of an image and a class that it holds, each once."""
        pairs = np.unique(self.image * max(len(self.classes), 1) + self.label)
        return np.stack(np.divmod(pairs, max(len(self.classes), 1)), axis=1)
