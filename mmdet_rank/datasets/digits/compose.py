"""Paste scans of digits on a crop of a photograph, with the mask that stays visible of each."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mmdet_rank.datasets.digits.sources import Scans

#: Height of a pasted scan as a share of the image's side, drawn log-uniformly between the two.
DIGIT_SIDE = (0.14, 0.5)
#: Width of a pasted scan over its height, drawn log-uniformly between the two.
DIGIT_ASPECT = (0.8, 1.25)
#: Every digit keeps at least this share of its strokes visible, however many are pasted over it.
MIN_VISIBLE = 0.7
#: Smallest distance, in RGB of 0 to 255, between a digit's colour and the mean of its background.
MIN_CONTRAST = 110.0
#: Places tried for a digit, at ever smaller size, before it is left out.
MAX_TRIES = 40
#: Smallest crop of a photograph, as a share of the side of the largest square in it.
MIN_CROP = 0.5


@dataclass
class Instance:
    """One digit of a composed image.

    Attributes:
        label: The digit, 0 to 9.
        scan: Index of its scan in scikit-learn's file.
        mask: (H, W) bool, its visible strokes.
        track: Number of the digit in its clip, the same in all frames; None in a still image.
    """

    label: int
    scan: int
    mask: np.ndarray
    track: int | None = None

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Smallest box around the visible strokes: x, y, width, height in pixels."""
        columns = np.flatnonzero(self.mask.any(axis=0))
        rows = np.flatnonzero(self.mask.any(axis=1))
        x, y = int(columns[0]), int(rows[0])
        return x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y


def compose(
    photographs: list[np.ndarray],
    scans: Scans,
    labels: np.ndarray,
    size: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, list[Instance]]:
    """Draw one image: one digit per label on a crop of a photograph, later ones over earlier.

    Args:
        photographs: (H, W, 3) uint8 RGB regions to crop from.
        scans: The handwriting to draw from.
        labels: (N,) the digits to paste, in this order.
        size: Side of the image in pixels.
        rng: Source of every random choice.

    Returns:
        The (size, size, 3) uint8 RGB image, and its instances. A digit for which no place is found
        that leaves enough of the others visible is left out, of the image and of the instances.
    """
    canvas = crop_photograph(photographs, size, rng).astype(np.float32)
    instances: list[Instance] = []
    full_areas: list[int] = []
    for label in labels:
        chosen = int(rng.choice(scans.of_class(int(label))))
        placed = _place(scans.images[chosen], size, instances, full_areas, rng)
        if placed is None:
            continue
        opacity, (x, y) = placed
        height, width = opacity.shape
        behind = canvas[y : y + height, x : x + width].reshape(-1, 3).mean(axis=0)
        mask = paste(canvas, opacity, (x, y), legible_colour(behind, rng), instances)
        instances.append(Instance(int(label), int(scans.indices[chosen]), mask))
        full_areas.append(int(mask.sum()))
    return as_picture(canvas), instances


def paste(
    canvas: np.ndarray,
    opacity: np.ndarray,
    place: tuple[int, int],
    colour: np.ndarray,
    earlier: list[Instance],
) -> np.ndarray:
    """Paste a digit on a canvas, over those that are there.

    Args:
        canvas: (H, W, 3) float32 RGB, changed in place.
        opacity: (h, w) of the digit, in [0, 1].
        place: x and y of its upper left corner, so that it lies inside.
        colour: (3,) RGB.
        earlier: The digits that are there; what is covered of their masks is taken off.

    Returns:
        The (H, W) bool mask of its strokes.
    """
    x, y = place
    window = (slice(y, y + opacity.shape[0]), slice(x, x + opacity.shape[1]))
    mask = np.zeros(canvas.shape[:2], dtype=bool)
    mask[window] = opacity > 0.5
    for instance in earlier:
        instance.mask &= ~mask
    alpha = opacity[..., None]
    canvas[window] = alpha * colour + (1 - alpha) * canvas[window]
    return mask


def as_picture(canvas: np.ndarray) -> np.ndarray:
    """Round a canvas to uint8."""
    return np.clip(np.rint(canvas), 0, 255).astype(np.uint8)


def crop_photograph(
    photographs: list[np.ndarray], size: int, rng: np.random.Generator
) -> np.ndarray:
    """Resize a random square of a random photograph to ``size``; mirror every second one."""
    photograph = photographs[int(rng.integers(len(photographs)))]
    height, width = photograph.shape[:2]
    largest = min(height, width)
    side = int(rng.integers(int(MIN_CROP * largest), largest, endpoint=True))
    y = int(rng.integers(height - side, endpoint=True))
    x = int(rng.integers(width - side, endpoint=True))
    square = photograph[y : y + side, x : x + side]
    if rng.random() < 0.5:
        square = square[:, ::-1]
    how = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
    return cv2.resize(np.ascontiguousarray(square), (size, size), interpolation=how)


def _place(
    scan: np.ndarray,
    size: int,
    instances: list[Instance],
    full_areas: list[int],
    rng: np.random.Generator,
) -> tuple[np.ndarray, tuple[int, int]] | None:
    """Find a size and a place for ``scan`` that hide no earlier digit too far."""
    low, high = np.log(DIGIT_SIDE)
    for attempt in range(MAX_TRIES):
        ceiling = high - (high - low) * attempt / MAX_TRIES
        side = size * np.exp(rng.uniform(low, ceiling))
        opacity = enlarge_scan(scan, side, np.exp(rng.uniform(*np.log(DIGIT_ASPECT))))
        height, width = opacity.shape
        x = int(rng.integers(size - width, endpoint=True))
        y = int(rng.integers(size - height, endpoint=True))
        strokes = opacity > 0.5
        window = (slice(y, y + height), slice(x, x + width))
        if all(
            earlier.mask.sum() - (earlier.mask[window] & strokes).sum() >= MIN_VISIBLE * area
            for earlier, area in zip(instances, full_areas, strict=True)
        ):
            return opacity, (x, y)
    return None


def enlarge_scan(scan: np.ndarray, side: float, aspect: float) -> np.ndarray:
    """Enlarge an (8, 8) scan to ``side`` pixels of height and cut the empty border off.

    Returns:
        (H, W) float32 opacity in [0, 1]: grey borders of strokes are sharpened, since a scan of 8
        pixels enlarged tenfold would otherwise be a blur without an outline.
    """
    padded = np.pad(scan, 1)
    scale = side / scan.shape[0]
    target = (round(padded.shape[1] * scale * aspect), round(padded.shape[0] * scale))
    ink = cv2.resize(padded, target, interpolation=cv2.INTER_CUBIC)
    opacity = np.clip((ink - 0.2) / 0.4, 0, 1)
    rows = np.flatnonzero((opacity > 0).any(axis=1))
    columns = np.flatnonzero((opacity > 0).any(axis=0))
    return opacity[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def legible_colour(background: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a colour that can be told from the mean colour behind the digit."""
    drawn = rng.uniform(0, 255, size=(32, 3))
    contrast = np.linalg.norm(drawn - background, axis=1)
    legible = np.flatnonzero(contrast >= MIN_CONTRAST)
    best = legible[0] if len(legible) else contrast.argmax()
    return drawn[best].astype(np.float32)
