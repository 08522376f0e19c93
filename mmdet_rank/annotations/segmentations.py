"""Checks of masks: polygons, and run lengths, compressed or plain.

pycocotools decodes compressed run lengths without looking whether they end, are positive or add up
to the picture, and reads and writes beyond its memory, or never ends, when they do not. Nothing is
handed to it here before that is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .fields import describe, is_number

__all__ = [
    "MaskFault",
    "Polygons",
    "all_polygons_sound",
    "mask_refusal",
    "plain_run_lengths_add_up",
    "polygon_area",
    "run_lengths_add_up",
    "sound_polygons",
]

_CHUNK = 1_000_000  # characters decoded at once: some 100 MB of working memory
_MAX_CHARACTERS = 7  # of one run length: seven times five bits
# Far beyond any picture: rasterising an outline takes memory by its length.
_FAR = 1e6
_MIN_NUMBERS = 6  # of a polygon: three points


class MaskFault(ValueError):
    """A mask of the wrong form, as opposed to one whose values are of no use."""


class Polygons(NamedTuple):
    """The polygons of one object, those that can be used, and how many were not."""

    sound: list
    dropped: int


def run_lengths_add_up(counts: Sequence[str | bytes], totals: Sequence[int]) -> NDArray[np.bool_]:
    """Tell for compressed run lengths whether they are whole, not negative, and add up.

    The code is COCO's: each number in groups of five bits, lowest first, in characters from "0"
    on, of which the bit of 32 says that more follow; from the fourth number on, the difference to
    the number two before it.

    Args:
        counts: N texts.
        totals: height x width of each.

    Returns:
        (N,) bool.

    >>> run_lengths_add_up(["kc0d0:00000000000000000Y8", "~~~~"], [1200, 1200])
    array([ True, False])
    """
    result = np.zeros(len(counts), dtype=bool)
    for start, stop in _chunks(counts):
        result[start:stop] = _add_up(counts[start:stop], totals[start:stop])
    return result


def plain_run_lengths_add_up(counts: Any, total: int) -> bool:
    """Tell whether a list of run lengths has whole numbers of 0 or more that add up."""
    if not isinstance(counts, (list, tuple)) or not counts:
        return False
    if set(map(type, counts)) == {int}:
        return min(counts) >= 0 and sum(counts) == total
    if not all(map(is_number, counts)):
        return False
    return all(n >= 0 and n == n // 1 for n in counts) and sum(counts) == total


def sound_polygons(mask: list) -> Polygons:
    """Return the polygons of one object that have an inside, and count the others.

    A polygon is dropped when it has fewer than three points, an odd number of coordinates, or
    coordinates that are not finite or beyond a million.

    Raises:
        MaskFault: ``mask`` is not a list of lists of numbers.

    >>> sound_polygons([[0, 0, 9, 0, 9, 9], [1, 1, 2, 2]])
    Polygons(sound=[[0, 0, 9, 0, 9, 9]], dropped=1)
    """
    sound = []
    for polygon in mask:
        if not isinstance(polygon, (list, tuple)) or not all(map(is_number, polygon)):
            raise MaskFault
        if (
            len(polygon) >= _MIN_NUMBERS
            and len(polygon) % 2 == 0
            and all(-_FAR <= value <= _FAR for value in polygon)
        ):
            sound.append(polygon)
    return Polygons(sound, len(mask) - len(sound))


def all_polygons_sound(masks: Sequence[Any]) -> bool:
    """Tell quickly whether all of many masks are lists of sound polygons.

    False means: look at them one by one.
    """
    if not set(map(type, masks)) <= {list} or not all(masks):
        return False
    for start in range(0, len(masks), 50_000):
        polygons = [polygon for mask in masks[start : start + 50_000] for polygon in mask]
        if not set(map(type, polygons)) <= {list}:
            return False
        lengths = np.fromiter(map(len, polygons), np.int64, len(polygons))
        if (lengths < _MIN_NUMBERS).any() or (lengths % 2).any():
            return False
        try:
            # The sum of a list with a text in it is a TypeError, and one with NaN is NaN.
            sums = np.array([sum(polygon) for polygon in polygons], dtype=np.float64)
            extreme = max(max(map(max, polygons)), -min(map(min, polygons)))
        except (TypeError, OverflowError):
            return False
        if not np.isfinite(sums).all() or not extreme <= _FAR:
            return False
    return True


def mask_refusal(mask: Any, where: str) -> str:
    """Return the message that refuses what is not a mask."""
    return (
        "Expected a mask (a list of polygons of at least three points, or run lengths with 'size' "
        f"and 'counts') as segmentation in {where}, but got {describe(mask)}; write a mask for "
        "each object."
    )


def polygon_area(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Area of a polygon, by the shoelace formula.

    Args:
        xs: N coordinates of its points.
        ys: N others.

    Example:
        >>> polygon_area([0, 4, 4], [0, 0, 3])
        6.0
    """
    turned = zip(xs, ys, [*xs[1:], xs[0]], [*ys[1:], ys[0]], strict=True)
    return abs(sum(x1 * y2 - x2 * y1 for x1, y1, x2, y2 in turned)) / 2


def _chunks(counts: Sequence[str | bytes]) -> Iterator[tuple[int, int]]:
    start = size = 0
    for index, text in enumerate(counts):
        size += len(text)
        if size >= _CHUNK:
            yield start, index + 1
            start, size = index + 1, 0
    if start < len(counts):
        yield start, len(counts)


def _as_bytes(text: str | bytes) -> bytes:
    # What is not ASCII is not a run length, and "?" does not end one, so that it is refused.
    return text if isinstance(text, bytes) else text.encode("ascii", errors="replace")


def _add_up(counts: Sequence[str | bytes], totals: Sequence[int]) -> NDArray[np.bool_]:
    texts = [_as_bytes(text) for text in counts]
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    code = np.frombuffer(b"".join(texts), dtype=np.uint8).astype(np.int64) - 48
    owner = np.repeat(np.arange(len(texts)), lengths)
    good = lengths > 0
    good[owner[(code < 0) | (code > 63)]] = False
    # A text must not end in the middle of a number.
    good[np.flatnonzero(good)[code[np.cumsum(lengths)[good] - 1] & 32 > 0]] = False
    used = good[owner]
    code, owner = code[used], owner[used]
    if not code.size:
        return good & False

    ends = np.flatnonzero(code & 32 == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    sizes = ends - starts + 1
    owner = owner[ends]
    good[owner[sizes > _MAX_CHARACTERS]] = False
    place = np.minimum(np.arange(code.size) - np.repeat(starts, sizes), _MAX_CHARACTERS)
    values = np.add.reduceat((code & 31) << (5 * place), starts)
    values -= (code[ends] & 16 > 0) * (1 << (5 * np.minimum(sizes, _MAX_CHARACTERS)))

    # Differences add up along two chains: the second, fourth, ... number of a text, and the third,
    # fifth, ...; the first number stands alone.
    first = np.concatenate([[True], owner[1:] != owner[:-1]])
    begin = np.maximum.accumulate(np.where(first, np.arange(owner.size), 0))
    odd = (np.arange(owner.size) - begin) & 1 == 1
    second = np.cumsum(np.where(odd, values, 0))
    third = np.cumsum(np.where(odd | first, 0, values))
    runs = np.where(odd, second - second[begin], third - third[begin])
    runs[first] = values[first]
    good[owner[runs < 0]] = False
    sums = np.bincount(owner, weights=runs.astype(np.float64), minlength=len(texts))
    return good & (sums == np.asarray(totals, dtype=np.float64))
