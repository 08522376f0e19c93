"""The real material: scans of handwriting and photographs, each split into train and val.

Nothing is shared between the splits. The scans are cut in the order of their file, in which
neighbours tend to come from the same writer: a random split would put every writer on both sides
and make validation look better than it is. Of the photographs each split gets a region of both:
with one photograph each, a detector would be validated on a kind of scene that it has never seen,
and the result would say more about the two photographs than about the detector.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SPLITS = ("train", "val")

#: Share of the scans, in file order, that training gets.
SCAN_SHARE = 0.8
#: Share of the photographs' columns, from the left, that training gets.
PHOTOGRAPH_SHARE = 0.7


@dataclass(frozen=True)
class Scans:
    """Scans of one split.

    Attributes:
        images: (N, 8, 8) float32, ink from 0 (paper) to 1.
        labels: (N,) int64, the digit that was written.
        indices: (N,) int64, the scan's place in scikit-learn's file.
    """

    images: np.ndarray
    labels: np.ndarray
    indices: np.ndarray

    def of_class(self, label: int) -> np.ndarray:
        """Positions, in this split, of the scans that show ``label``."""
        return np.flatnonzero(self.labels == label)


def load_scans(split: str) -> Scans:
    """Load the scans of ``split`` ('train' or 'val').

    Raises:
        ImportError: If scikit-learn is not installed.
        ValueError: If ``split`` is neither 'train' nor 'val'.
    """
    _check_split(split)
    digits = _sklearn_datasets().load_digits()
    cut = int(SCAN_SHARE * len(digits.target))
    part = slice(None, cut) if split == "train" else slice(cut, None)
    return Scans(
        images=(digits.images[part] / 16.0).astype(np.float32),
        labels=digits.target[part].astype(np.int64),
        indices=np.arange(len(digits.target))[part],
    )


def load_photographs(split: str) -> list[np.ndarray]:
    """Load the regions of the photographs that ``split`` ('train' or 'val') may show.

    Returns:
        One (H, W, 3) uint8 RGB array per photograph.

    Raises:
        ImportError: If scikit-learn is not installed.
        ValueError: If ``split`` is neither 'train' nor 'val'.
    """
    _check_split(split)
    regions = []
    for photograph in _sklearn_datasets().load_sample_images().images:
        cut = int(PHOTOGRAPH_SHARE * photograph.shape[1])
        region = photograph[:, :cut] if split == "train" else photograph[:, cut:]
        regions.append(np.ascontiguousarray(region))
    return regions


def _check_split(split: str) -> None:
    if split not in SPLITS:
        raise ValueError(f"Expected split to be one of {SPLITS}, but got {split!r}.")


def _sklearn_datasets():
    try:
        from sklearn import datasets
    except ImportError as error:
        raise ImportError(
            "The digits data set is made from the scans that come with scikit-learn, which is not "
            "installed; run: pip install scikit-learn"
        ) from error
    return datasets
