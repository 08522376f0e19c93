"""The picture of a confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

__all__ = ["draw_confusion"]

#: Of more classes numbers would not be legible.
_MOST_WITH_NUMBERS = 25


def draw_confusion(counts: NDArray[np.int64], names: Sequence[str], title: str = "") -> Figure:
    """Draw a confusion matrix, shaded by the shares of each row.

    Args:
        counts: (C + 1, C + 1), see ``evaluation.confusion.confusion_matrix``.
        names: of the C classes.
        title: heading.
    """
    labels = [*names, "background"]
    side = min(3.2 + 0.55 * len(labels), 16)
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    # Nobody counts the places where there is nothing and nothing is seen.
    shares[-1, -1] = np.nan
    image = axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    figure.colorbar(image, ax=axes, shrink=0.7, label="share of the row")
    axes.set_xticks(range(len(labels)), labels, rotation=90 if len(labels) > 4 else 0)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("detected as")
    axes.set_ylabel("class of the object")
    if len(labels) <= _MOST_WITH_NUMBERS + 1:
        for row, column in np.ndindex(*counts.shape):
            if not np.isnan(shares[row, column]):
                axes.text(
                    column,
                    row,
                    str(counts[row, column]),
                    ha="center",
                    va="center",
                    fontsize=8,
                    color="white" if shares[row, column] > 0.5 else "black",
                )
    axes.set_title(title, fontsize=10)
    return figure
