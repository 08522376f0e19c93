"""Colours of classes."""

from __future__ import annotations

import colorsys

__all__ = ["class_colors"]

# The golden ratio keeps neighbours far apart on the circle of hues, for however many there are.
_TURN = 0.618034
_FIRST = 0.58


def class_colors(number: int) -> list[tuple[int, int, int]]:
    """Return RGB colours that stay apart, the same for the same place.

    Args:
        number: How many.

    Returns:
        Red, green and blue of each, 0 to 255.

    Example:
        >>> class_colors(2)
        [(47, 129, 204), (174, 204, 47)]
    """
    colors = []
    for place in range(number):
        # Later rounds of the circle are darker.
        value = 0.8 if place % 16 < 8 else 0.6
        red, green, blue = colorsys.hsv_to_rgb((_FIRST + place * _TURN) % 1, 0.77, value)
        colors.append((round(255 * red), round(255 * green), round(255 * blue)))
    return colors
