"""Pictures of one image's errors: right, false and missed, each in its colour."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mmdet_rank.evaluation.image_errors import ImageErrors

__all__ = ["COLORS", "draw_errors"]

#: Okabe and Ito's colours, which the colour-blind tell apart.
COLORS = {"right": "#009E73", "false": "#D55E00", "missed": "#F0E442"}
_WIDTH = 5.0
#: Of the longer side as it is drawn, for pictures of hundreds of megapixels.
_MOST_PIXELS = 2000


def draw_errors(path: str | Path, errors: ImageErrors, names: Mapping[int, str]) -> Figure:
    """Draw an image with its errors.

    Right detections have a solid frame with class and IoU, false ones a solid frame with class and
    score, missed objects a dashed frame with their class.

    Args:
        path: the image file.
        errors: of this image.
        names: of the classes, by category id.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no picture.
    """
    # As the detector reads it.
    try:
        image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:  # of an empty file, or too many pixels
        image = None
    if image is None:
        raise ValueError(f"Expected a picture, but {path} cannot be read; write it again.")
    height, width = image.shape[:2]
    figure = Figure(figsize=(_WIDTH, _WIDTH * height / width))
    axes = figure.add_axes((0, 0, 1, 1))
    if (shrink := max(height, width) / _MOST_PIXELS) > 1:
        smaller = (max(round(width / shrink), 1), max(round(height / shrink), 1))
        image = cv2.resize(image, smaller, interpolation=cv2.INTER_AREA)
    axes.imshow(image[..., ::-1], extent=(-0.5, width - 0.5, height - 0.5, -0.5))
    axes.axis("off")
    for detection, quality in errors.right:
        _draw(axes, detection, "right", f"{names[detection['category_id']]} IoU {quality:.2f}")
    for detection in errors.false:
        label = f"{names[detection['category_id']]} {detection['score']:.2f}"
        _draw(axes, detection, "false", label)
    for missed in errors.missed:
        _draw(axes, missed, "missed", names[missed["category_id"]])
    return figure


def _draw(axes: Axes, item: Mapping, kind: str, label: str) -> None:
    x, y, width, height = item["bbox"]
    style = "--" if kind == "missed" else "-"
    frame = Rectangle((x, y), width, height, fill=False, lw=1.6, ls=style, ec=COLORS[kind])
    frame.set_path_effects([patheffects.withStroke(linewidth=3, foreground="black", alpha=0.5)])
    axes.add_patch(frame)
    # Names of classes may have a $, which is mathematics to matplotlib.
    axes.text(
        x + 2,
        y + 2,
        label,
        color="black",
        fontsize=7,
        va="top",
        bbox={"facecolor": COLORS[kind], "edgecolor": "none", "pad": 0.8, "alpha": 0.85},
        parse_math=False,
        clip_on=True,
    )
