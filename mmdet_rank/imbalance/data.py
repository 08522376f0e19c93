"""Measures of a data set: classes, images, sizes, places, and the mix of training batches."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .objects import Objects

__all__ = ["measure_data", "repeat_factors"]

# Object sizes of COCO, in pixels of the image as it is.
_SMALL, _LARGE = 32.0**2, 96.0**2
_HEAT_MAP = 24


def measure_data(
    objects: Objects, *, batch_size: int = 16, oversample_thr: float | None = None
) -> dict[str, Any]:
    """Measure the imbalance of a data set, ready for JSON.

    Args:
        objects: what is annotated.
        batch_size: images in a batch, for the classes that one holds (thesis Fig. 3.6).
        oversample_thr: of MMDetection's ClassBalancedDataset, a share of images: classes in fewer
            are repeated. By default the share that the median class is in.

    Returns:
        ``num_images``, ``num_objects``, ``per_class`` by name, and the groups ``classes``,
        ``images``, ``sizes`` and ``places``. Histograms have ``edges`` and one ``counts`` less.

    Raises:
        ValueError: when there is no object.
    """
    if not len(objects.label):
        raise ValueError(
            "Expected objects to analyse, but the annotations have none; give the annotations of "
            "the training images."
        )
    return {
        "num_images": len(objects.sizes),
        "num_objects": len(objects.label),
        **_classes(objects, batch_size, oversample_thr),
        "images": _images(objects),
        "sizes": _sizes(objects),
        "places": _places(objects),
    }


def repeat_factors(objects: Objects, oversample_thr: float) -> NDArray[np.int64]:
    """How often ClassBalancedDataset shows each image in an epoch: (I,), at least 1.

    ``ceil(max over its classes of max(1, sqrt(oversample_thr / f)))`` with f the share of the
    images that have the class.
    """
    pairs = objects.images_of_classes()
    share = np.bincount(pairs[:, 1], minlength=len(objects.classes)) / len(objects.sizes)
    factors = np.ones(len(objects.sizes))
    with np.errstate(divide="ignore"):
        of_class = np.sqrt(oversample_thr / share)
    np.maximum.at(factors, pairs[:, 0], of_class[pairs[:, 1]])
    return np.ceil(factors).astype(np.int64)


def _classes(objects: Objects, batch_size: int, threshold: float | None) -> dict[str, Any]:
    counts = objects.counts()
    pairs = objects.images_of_classes()
    images = np.bincount(pairs[:, 1], minlength=len(objects.classes))
    present = counts > 0
    if threshold is None:
        threshold = float(np.median(images[present])) / len(objects.sizes)
    repeats = repeat_factors(objects, threshold)
    repeated = objects.counts(repeats[objects.image].astype(np.float64))
    repeated_images = np.bincount(
        pairs[:, 1], repeats[pairs[:, 0]].astype(np.float64), minlength=len(objects.classes)
    )

    def in_batch(shares: NDArray) -> NDArray:
        return 1 - (1 - np.minimum(shares, 1)) ** batch_size

    plain_batch = in_batch(images / len(objects.sizes))
    balanced_batch = in_batch(repeated_images / repeats.sum())
    shares, mixed = counts / counts.sum(), repeated / repeated.sum()
    share = shares[present]
    return {
        "per_class": {
            name: {
                "objects": int(counts[c]),
                "images": int(images[c]),
                "share": float(shares[c]),
                "share_balanced": float(mixed[c]),
                "in_batch": float(plain_batch[c]),
                "in_batch_balanced": float(balanced_batch[c]),
            }
            for c, name in enumerate(objects.classes)
        },
        "classes": {
            "imbalance_ratio": float(counts.max() / counts[present].min()),
            "imbalance_ratio_balanced": float(repeated.max() / repeated[present].min()),
            "mean_objects": float(counts[present].mean()),
            "share_below_mean": float((counts[present] < counts[present].mean()).mean()),
            "share_below_tenth": float((counts[present] < counts.max() / 10).mean()),
            "effective_number": float(np.exp(-(share * np.log(share)).sum())),
            "without_objects": [n for n, p in zip(objects.classes, present, strict=True) if not p],
            "batch_size": batch_size,
            "classes_in_batch": float(plain_batch.sum()),
            "classes_in_batch_balanced": float(balanced_batch.sum()),
            "oversample_thr": threshold,
            "epoch_length_balanced": float(repeats.sum() / len(repeats)),
        },
    }


def _images(objects: Objects) -> dict[str, Any]:
    number = len(objects.sizes)
    per_image = np.bincount(objects.image, minlength=number)
    classes = np.bincount(objects.images_of_classes()[:, 0], minlength=number)
    return {
        "without_objects": int((per_image == 0).sum()),
        "objects": _summary(per_image) | {"histogram": _whole_histogram(per_image)},
        "classes": _summary(classes) | {"histogram": _whole_histogram(classes)},
    }


def _sizes(objects: Objects) -> dict[str, Any]:
    size = objects.boxes[:, 2:]
    area = size.prod(axis=1)
    relative = size / objects.sizes[objects.image]
    side = np.sqrt(relative.prod(axis=1))
    low, high = np.percentile(side, (5, 95))
    ratios = np.log2(size[:, 0] / size[:, 1])
    return {
        "small": float((area < _SMALL).mean()),
        "medium": float(((area >= _SMALL) & (area < _LARGE)).mean()),
        "large": float((area >= _LARGE).mean()),
        "side": _summary(side),
        "side_5_percent": float(low),
        "side_95_percent": float(high),
        "span": float(high / low),
        "relative_width": _histogram(relative[:, 0], 0, 1, 40),
        "relative_height": _histogram(relative[:, 1], 0, 1, 40),
        "relative_area": _histogram(relative.prod(axis=1), 0, 1, 40),
        "relative_side": _histogram(side, 0, 1, 40),
        "log2_aspect_ratio": _histogram(ratios, -4, 4, 48),
        "elongated": float((np.abs(ratios) > 2).mean()),
    }


def _places(objects: Objects) -> dict[str, Any]:
    centers = (objects.boxes[:, :2] + objects.boxes[:, 2:] / 2) / objects.sizes[objects.image]
    x, y = np.clip(centers, 0, 1 - 1e-9).T
    heat = np.zeros((_HEAT_MAP, _HEAT_MAP), dtype=np.int64)
    np.add.at(heat, ((y * _HEAT_MAP).astype(int), (x * _HEAT_MAP).astype(int)), 1)
    ninths = np.zeros((3, 3))
    np.add.at(ninths, ((y * 3).astype(int), (x * 3).astype(int)), 1 / len(x))
    return {
        "heat_map": heat.tolist(),
        "ninths": ninths.tolist(),
        "middle": float(ninths[1, 1]),
        "border": float(((x < 0.1) | (x >= 0.9) | (y < 0.1) | (y >= 0.9)).mean()),
        # Total variation: the share of objects that would have to move for an even spread.
        "unevenness": float(np.abs(ninths - 1 / 9).sum() / 2),
    }


def _summary(values: ArrayLike) -> dict[str, float]:
    values = np.asarray(values, dtype=np.float64)
    return {
        "mean": float(values.mean()),
        "median": float(np.median(values)),
        "max": float(values.max()),
    }


def _histogram(values: NDArray, low: float, high: float, bins: int) -> dict[str, list]:
    counts, edges = np.histogram(np.clip(values, low, high), bins=bins, range=(low, high))
    return {"edges": edges.tolist(), "counts": counts.tolist()}


def _whole_histogram(values: NDArray[np.int64]) -> dict[str, list]:
    """Counts of whole numbers from 0, at most 40 bins, the last one open."""
    most = int(values.max())
    if most >= 40:
        most = int(np.percentile(values, 99.5))
    step = -(-(most + 1) // 40)
    top = (most // step + 1) * step
    edges = np.arange(0, top + step, step)
    counts, _ = np.histogram(np.minimum(values, top - 0.5), bins=edges)
    return {"edges": edges.tolist(), "counts": counts.tolist()}
