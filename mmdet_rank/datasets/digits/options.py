"""The options of a digits data set, checked when they are given."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

#: Smallest picture in which a few digits of legible size fit beside each other.
MIN_SIZE = 64
#: Largest picture; the photographs' own regions are 192 pixels wide, more would only be enlarged.
MAX_SIZE = 1024


@dataclass(frozen=True)
class DigitsOptions:
    """Options of a digits data set; equal options give equal files.

    Args:
        train: Number of training images, at least 1.
        val: Number of validation images, at least 1.
        size: Height and width of every image in pixels, 64 to 1024.
        seed: Seed of everything that is drawn, at least 0.
        imbalance: Frequency of the commonest class ("zero") divided by that of the rarest ("nine"),
            at least 1; the classes between fall geometrically, in both splits.
        frames: Number of frames; of more than 1, every image becomes a clip in which its digits
            move.

    Raises:
        TypeError: If an option is not a number of the kind that is expected.
        ValueError: If an option is out of its range.

    Example:
        >>> options = DigitsOptions(train=100, val=20, imbalance=8.0)
        >>> [round(share, 3) for share in options.class_shares()][::9]
        [0.229, 0.029]
    """

    train: int = 2000
    val: int = 300
    size: int = 192
    seed: int = 0
    imbalance: float = 1.0
    frames: int = 1

    def __post_init__(self) -> None:
        for name, low, high in (
            ("train", 1, None),
            ("val", 1, None),
            ("size", MIN_SIZE, MAX_SIZE),
            ("seed", 0, None),
            ("frames", 1, None),
        ):
            _check_integer(name, getattr(self, name), low, high)
        if isinstance(self.imbalance, bool) or not isinstance(self.imbalance, Real):
            raise TypeError(f"Expected imbalance to be a number, but got {self.imbalance!r}.")
        if not (math.isfinite(self.imbalance) and self.imbalance >= 1):
            raise ValueError(
                "Expected imbalance, the ratio of the commonest to the rarest class, to be a "
                f"finite number of at least 1, but got {self.imbalance}."
            )
        object.__setattr__(self, "imbalance", float(self.imbalance))

    def class_shares(self, num_classes: int = 10) -> list[float]:
        """Share of each class among all digits, from the commonest to the rarest; sums to 1."""
        weights = [self.imbalance ** (-k / (num_classes - 1)) for k in range(num_classes)]
        total = sum(weights)
        return [weight / total for weight in weights]


def _check_integer(name: str, value: Any, low: int, high: int | None) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, Integral)):
        raise TypeError(f"Expected {name} to be an integer, but got {value!r}.")
    number = int(value)
    if number < low or (high is not None and number > high):
        wanted = f"at least {low}" if high is None else f"from {low} to {high}"
        raise ValueError(f"Expected {name} to be {wanted}, but got {value}.")
