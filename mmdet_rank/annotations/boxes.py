"""Hints from the boxes of a file as a whole on how they were written."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["looks_like_corners", "looks_like_fractions", "visible_area"]

# One or two boxes may look like anything.
_ENOUGH = 3
_TOLERANCE = 2.0  # pixels


def visible_area(
    boxes: NDArray[np.float64], width: NDArray[np.float64], height: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the area of boxes ``[x, y, width, height]`` inside of their images.

    >>> boxes = np.array([[-5.0, 2, 10, 4], [8, 7, 4, 10], [3, -9, 2, 9]])
    >>> visible_area(boxes, np.full(3, 10.0), np.full(3, 10.0))
    array([20.,  6.,  0.])
    """
    x, y, w, h = boxes.T
    inside_w = np.clip(np.minimum(x + w, width) - np.maximum(x, 0), 0, None)
    inside_h = np.clip(np.minimum(y + h, height) - np.maximum(y, 0), 0, None)
    return inside_w * inside_h


def looks_like_corners(
    boxes: NDArray[np.float64], width: NDArray[np.float64], height: NDArray[np.float64]
) -> bool:
    """Tell whether boxes that should be ``[x, y, width, height]`` look like two corners.

    They do when all of them would fit into their images as corners, with the second right below
    the first, while a quarter or more reach out of them as they should be read.

    >>> boxes = np.array([[50.0, 50, 90, 90], [10, 60, 40, 95], [70, 20, 99, 60]])
    >>> looks_like_corners(boxes, np.full(3, 100.0), np.full(3, 100.0))
    True
    """
    if len(boxes) < _ENOUGH:
        return False
    x, y, w, h = boxes.T
    fit = (w > x) & (h > y) & (w <= width + _TOLERANCE) & (h <= height + _TOLERANCE)
    reach_out = (x + w > width + _TOLERANCE) | (y + h > height + _TOLERANCE)
    return bool(fit.all() and reach_out.mean() >= 0.25)


def looks_like_fractions(boxes: NDArray[np.float64]) -> bool:
    """Tell whether boxes look like fractions of their images: no number is above 1.

    >>> looks_like_fractions(np.array([[0.5, 0.5, 0.2, 0.1], [0.1, 0.0, 0.3, 0.3], [0, 0, 1, 1]]))
    True
    """
    return len(boxes) >= _ENOUGH and bool((boxes <= 1).all() and (boxes[:, 2:] > 0).any())
