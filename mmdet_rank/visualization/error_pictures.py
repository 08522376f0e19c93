"""Pictures of one image's errors: right, false and missed, each in its colour."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image, ImageOps

from mmdet_rank.evaluation.image_errors import ImageErrors

__all__ = ["COLORS", "draw_errors"]

#: Okabe and Ito's colours, which the colour-blind tell apart.
COLORS = {"right": "#009E73", "false": "#D55E00", "missed": "#F0E442"}
_WIDTH = 5.0


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
    """
    with Image.open(path) as opened:
        image = ImageOps.exif_transpose(opened).convert("RGB")
    figure = Figure(figsize=(_WIDTH, _WIDTH * image.height / image.width))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(image)
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
