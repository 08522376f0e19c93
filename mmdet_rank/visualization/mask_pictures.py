"""Pictures of binary segmentation: predictions beside the truth, and losses beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from mmdet_rank.files import written_whole

#: Colours of what was found, missed, and found where nothing is.
FOUND, MISSED, FALSE = (255, 255, 255), (230, 60, 40), (60, 130, 230)


def draw_masks(
    path: str | Path,
    images: Sequence[np.ndarray],
    truths: Sequence[np.ndarray],
    predictions: dict[str, Sequence[np.ndarray]],
) -> None:
    """One row an image: the image, its truth, and each loss's prediction (Fig. 4 of the paper).

    White is found, red missed, blue falsely found.

    Args:
        path: Where the picture goes.
        images: (H, W, 3) RGB each.
        truths: (H, W) masks.
        predictions: Masks of the same images, by title.
    """
    titles = ["image", "truth", *predictions]
    figure = Figure(figsize=(1.35 * len(titles), 1.35 * len(images) + 0.5), layout="constrained")
    grid = figure.subplots(len(images), len(titles), squeeze=False)
    for row, (image, truth) in enumerate(zip(images, truths, strict=True)):
        shown = [image, mask_colours(truth, truth)]
        shown += [mask_colours(of_loss[row], truth) for of_loss in predictions.values()]
        for axes, title, picture in zip(grid[row], titles, shown, strict=True):
            axes.imshow(picture, interpolation="nearest")
            axes.set_axis_off()
            if row == 0:
                axes.set_title(title, fontsize=7)
    figure.supxlabel("white: found   red: missed   blue: found where there is nothing", fontsize=7)
    _save(figure, path)


def mask_colours(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(H, W, 3) picture of a prediction (H, W) against its truth.

    Example:
        >>> mask_colours(np.array([[1, 0, 0]]), np.array([[1, 1, 0]]))[0].tolist()
        [[255, 255, 255], [230, 60, 40], [0, 0, 0]]
    """
    prediction, truth = prediction > 0, truth > 0
    picture = np.zeros((*truth.shape, 3), dtype=np.uint8)
    picture[prediction & truth] = FOUND
    picture[truth & ~prediction] = MISSED
    picture[prediction & ~truth] = FALSE
    return picture


def draw_spread(
    path: str | Path, values: dict[str, dict[str, Sequence[float]]], label: str
) -> None:
    """Figures of each loss, one dot a seed, the losses by their mean of the first figure.

    Args:
        path: Where the plot goes.
        values: One value per seed, by figure and by loss.
        label: What the horizontal axis shows.
    """
    first = next(iter(values.values()))
    order = sorted(first, key=lambda name: float(np.mean(first[name])))
    figure = Figure(figsize=(6.5, 0.28 * len(order) + 1.2), layout="constrained")
    axes = figure.subplots()
    for place, (kind, losses) in enumerate(values.items()):
        colour = f"C{place}"
        for height, name in enumerate(order):
            axes.plot(losses[name], [height] * len(losses[name]), ".", color=colour, alpha=0.5)
            axes.plot(np.mean(losses[name]), height, "|", color=colour, markersize=12)
        axes.plot([], [], "|", color=colour, label=kind)
    axes.set_yticks(range(len(order)), order)
    axes.set_xlabel(label)
    axes.grid(axis="x", alpha=0.3)
    axes.legend(fontsize=8)
    _save(figure, path)


def draw_margins(
    path: str | Path, gains: dict[str, tuple[float, dict[float, Sequence[float]]]]
) -> None:
    """Gain of a margin on data sets of different shares of foreground (Fig. 3 of the paper).

    Args:
        path: Where the plot goes.
        gains: By data set: its share of foreground in [0, 1], and by margin the gains of the IoU
            over no margin, one per seed.
    """
    figure = Figure(figsize=(6.5, 3.6), layout="constrained")
    axes = figure.subplots()
    for place, (name, (share, of_margin)) in enumerate(
        sorted(gains.items(), key=lambda item: item[1][0])
    ):
        margins = sorted(of_margin)
        means = [100 * np.mean(of_margin[margin]) for margin in margins]
        errors = [
            100 * np.std(of_margin[margin], ddof=1) / len(of_margin[margin]) ** 0.5
            if len(of_margin[margin]) > 1
            else 0.0
            for margin in margins
        ]
        axes.errorbar(
            margins, means, errors, marker="o", capsize=3, color=f"C{place}",
            label=f"{name}: {share:.2%} foreground",
        )  # fmt: skip
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.set_xlabel("margin")
    axes.set_ylabel("gain of IoU over margin 0 (points)")
    axes.legend(fontsize=8)
    _save(figure, path)


def _save(figure: Figure, path: str | Path) -> None:
    with written_whole(path) as temporary:
        figure.savefig(temporary, dpi=150, format=Path(path).suffix[1:])
