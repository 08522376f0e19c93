"""Clips: digits that move on a photograph along which a camera pans."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mmdet_rank.datasets.digits.compose import (
    DIGIT_ASPECT,
    DIGIT_SIDE,
    Instance,
    as_picture,
    crop_photograph,
    enlarge_scan,
    legible_colour,
    paste,
)
from mmdet_rank.datasets.digits.sources import Scans

#: Greatest speed of a digit, as a share of the image's side in each frame, along either axis.
MAX_SPEED = 0.03
#: Side of the background that the camera pans over, as a share of the image's side.
PAN = 1.25
#: Standard deviation of the noise of a frame, in RGB of 0 to 255, drawn per clip between the two.
NOISE = (3.0, 15.0)
#: A digit of which a smaller share of its strokes is visible is not an object of the frame.
MIN_SEEN = 0.3


def compose_clip(
    photographs: list[np.ndarray],
    scans: Scans,
    labels: np.ndarray,
    size: int,
    frames: int,
    rng: np.random.Generator,
) -> Iterator[tuple[np.ndarray, list[Instance]]]:
    """Draw a clip: each digit keeps its scan, size and colour, moves, and turns at the borders.

    Later digits pass over earlier ones, which may vanish for some frames.

    Args:
        photographs: (H, W, 3) uint8 RGB regions to crop from.
        scans: The handwriting to draw from.
        labels: (N,) the digits, in the order in which they are pasted.
        size: Side of the frames in pixels.
        frames: Number of frames.
        rng: Source of every random choice.

    Yields:
        Of each frame the (size, size, 3) uint8 RGB picture, and the instances that are visible in
        it; their ``track`` is their place in ``labels``.
    """
    wide = round(PAN * size)
    background = crop_photograph(photographs, wide, rng).astype(np.float32)
    pan = rng.uniform(0, wide - size, size=(2, 2))
    noise = rng.uniform(*NOISE)
    digits = []
    for label in labels:
        chosen = int(rng.choice(scans.of_class(int(label))))
        side = size * np.exp(rng.uniform(*np.log(DIGIT_SIDE)))
        opacity = enlarge_scan(
            scans.images[chosen], side, np.exp(rng.uniform(*np.log(DIGIT_ASPECT)))
        )
        room = size - np.array(opacity.shape[::-1])
        start, speed = rng.uniform(0, room), size * rng.uniform(-MAX_SPEED, MAX_SPEED, size=2)
        colour = legible_colour(background.reshape(-1, 3).mean(axis=0), rng)
        digits.append((int(label), int(scans.indices[chosen]), opacity, colour, start, speed, room))
    for frame in range(frames):
        x, y = np.rint(pan[0] + (pan[1] - pan[0]) * frame / max(frames - 1, 1)).astype(int)
        canvas = background[y : y + size, x : x + size].copy()
        instances: list[Instance] = []
        full = []
        for track, (label, scan, opacity, colour, start, speed, room) in enumerate(digits):
            x, y = np.rint(_between_borders(start + frame * speed, room)).astype(int)
            mask = paste(canvas, opacity, (x, y), colour, instances)
            instances.append(Instance(label, scan, mask, track))
            full.append(mask.sum())
        canvas += rng.normal(scale=noise, size=canvas.shape).astype(np.float32)
        seen = [
            instance
            for instance, area in zip(instances, full, strict=True)
            if instance.mask.sum() >= MIN_SEEN * area
        ]
        yield as_picture(canvas), seen


def _between_borders(place: np.ndarray, room: np.ndarray) -> np.ndarray:
    """Fold a way without end into [0, room], as a ball that bounces."""
    room = np.maximum(room, 1e-9)
    return room - np.abs(place % (2 * room) - room)
