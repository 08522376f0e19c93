"""Masks as run lengths, in annotations and in results."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as mask_utils

from .fields import describe
from .segmentations import mask_refusal, plain_run_lengths_add_up, run_lengths_add_up

__all__ = ["as_run_lengths", "check_run_lengths"]


def as_run_lengths(mask: dict | list, height: int, width: int) -> dict:
    """Return a mask that has been checked as compressed run lengths.

    >>> as_run_lengths({"size": [2, 3], "counts": [1, 5]}, 2, 3)["counts"]
    b'15'
    """
    if isinstance(mask, list):
        return mask_utils.merge(mask_utils.frPyObjects(mask, height, width))
    if isinstance(mask["counts"], list):
        counts = [int(count) for count in mask["counts"]]
        return mask_utils.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    return mask


def check_run_lengths(
    entries: Sequence[dict],
    chosen: Sequence[int],
    sizes: NDArray[np.float64],
    where: Callable[[int], str],
    *,
    skip: NDArray[np.bool_] | None = None,
) -> None:
    """Check the masks of those entries that have run lengths.

    Args:
        entries: annotations or results.
        chosen: indices of those whose ``segmentation`` is an object.
        sizes: (N, 2) width and height of the image of each entry.
        where: names an entry by its index.
        skip: (N,) entries that do not count, whose size is not compared.

    Raises:
        ValueError: a mask has another size than its image, or run lengths that do not add up.
    """
    compressed: list[int] = []
    for index in chosen:
        mask = entries[index]["segmentation"]
        if not isinstance(mask.get("counts"), (str, bytes, list)):
            raise ValueError(mask_refusal(mask, where(index)))
        size = mask.get("size")
        if not (
            isinstance(size, (list, tuple))
            and len(size) == 2
            and all(isinstance(side, int) and 0 < side < 2**31 for side in size)
            and size[0] * size[1] < 2**32
        ):
            raise ValueError(
                f"Expected [height, width] as the size of the segmentation in {where(index)}, but "
                f"got {describe(size)}; write that of the image."
            )
        if not (skip is not None and skip[index]):
            width, height = sizes[index].tolist()
            if [height, width] != list(size):
                raise ValueError(
                    f"Expected a mask of [height, width] {[int(height), int(width)]}, the size of "
                    f"its image, as segmentation in {where(index)}, but got {list(size)}; masks "
                    "have to be resized to the original image."
                )
        if isinstance(mask["counts"], list):
            if not plain_run_lengths_add_up(mask["counts"], size[0] * size[1]):
                raise ValueError(_refusal(size, where(index), mask["counts"]))
        else:
            compressed.append(index)
    masks = [entries[index]["segmentation"] for index in compressed]
    totals = [mask["size"][0] * mask["size"][1] for mask in masks]
    good = run_lengths_add_up([mask["counts"] for mask in masks], totals)
    if not good.all():
        first = int(np.flatnonzero(~good)[0])
        mask = masks[first]
        raise ValueError(_refusal(mask["size"], where(compressed[first]), mask["counts"]))


def _refusal(size: Sequence[int], where: str, counts: object) -> str:
    return (
        f"Expected run lengths that add up to {size[0]} x {size[1]} as segmentation in {where}, "
        f"but got {describe(counts)}; write the mask again."
    )
