"""Checks of one field over all entries: by column where all is well, by entry otherwise.

A file of COCO's size has nearly a million objects, so a column is first looked at as a whole, at
the speed of C; only when something is wrong with it are entries looked at one by one, to name the
first that is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "HUGE",
    "boxes_array",
    "describe",
    "flags",
    "ids",
    "is_finite",
    "is_number",
    "namer",
    "numbers",
    "refuse_missing",
    "refuse_other_than_objects",
]

# Ids travel through NumPy's int64.
_ID_LIMIT = 2**63
_ADD = {"area": "area is width x height of the box, or that of the mask"}
# From where on a number is taken for a fault, and not for a coordinate or a size.
HUGE = 1e10


def namer(what: str, source: str) -> Callable[[int], str]:
    """Return a function that names an entry of a file by its index."""
    return lambda index: f"{what} {index} of {source}"


def refuse_missing(entries: list, kind: str, needed: Sequence[str], source: str) -> None:
    """Raise ValueError unless all entries are objects that have certain fields.

    Args:
        entries: one of the lists of a file.
        kind: its name: ``images``, ``annotations`` or ``categories``.
        needed: the fields.
        source: name of the file.
    """
    singular = {"images": "image", "annotations": "annotation", "categories": "category"}[kind]
    refuse_other_than_objects(entries, singular, source)
    for key in needed:
        for index, entry in enumerate(entries):
            if key not in entry:
                more = _ADD.get(key, "add that to the file")
                raise ValueError(
                    f"Expected {', '.join(needed)} in each of the {kind} of {source}, but entry "
                    f"{index} lacks {key}; {more}."
                )


def describe(value: object) -> str:
    """Return what a value is, short enough for a message."""
    if isinstance(value, dict):
        return f"an object with the keys {sorted(map(str, value))[:6]}"
    if isinstance(value, list):
        return f"a list of {len(value)} values" + (f" from {str(value[0])[:60]}" if value else "")
    return repr(value)[:60]


def refuse_other_than_objects(entries: Sequence, what: str, source: str) -> None:
    """Raise ValueError unless every entry of a list is a JSON object."""
    if set(map(type, entries)) <= {dict}:
        return
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise ValueError(
                f"Expected an object as {what} {index} of {source}, but got {describe(entry)}; "
                "write the file again."
            )


def ids(values: list, field: str, where: Callable[[int], str]) -> list:
    """Return ids of one type: numbers (1.0 becomes 1) or texts.

    Args:
        values: one id per entry.
        field: what to call it in messages.
        where: names an entry by its index.

    Raises:
        ValueError: an id is neither a whole number nor a text, or some are numbers and others
            texts.
    """
    types = set(map(type, values))
    if types == {str}:
        return values
    if types <= {int} and (not values or -_ID_LIMIT <= min(values) <= max(values) < _ID_LIMIT):
        return values
    result: list = []
    for index, value in enumerate(values):
        if isinstance(value, float) and math.isfinite(value) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            raise ValueError(
                f"Expected a whole number or a text as {field} in {where(index)}, but got "
                f"{describe(value)}; number the entries 1, 2, ..."
            )
        if isinstance(value, int) and not -_ID_LIMIT <= value < _ID_LIMIT:
            raise ValueError(
                f"Expected as {field} a number of at most 63 bits in {where(index)}, but got "
                f"{str(value)[:40]}; number the entries 1, 2, ..."
            )
        if result and isinstance(value, str) is not isinstance(result[0], str):
            raise ValueError(
                f"Expected {field}s of one type, but got {result[0]!r} in {where(0)} and {value!r} "
                f"in {where(index)}; write all as numbers."
            )
        result.append(value)
    return result


def numbers(
    values: list, field: str, where: Callable[[int], str], advice: str
) -> NDArray[np.float64]:
    """Return numbers as an array, with infinity for what float64 cannot hold.

    Raises:
        ValueError: a value is not a number (a text, null, true, a list); NaN and infinity are
            numbers.
    """
    if not set(map(type, values)) <= {int, float}:
        for index, value in enumerate(values):
            if not is_number(value):
                raise ValueError(
                    f"Expected a number as {field} in {where(index)}, but got {describe(value)}; "
                    f"{advice}."
                )
    return _as_floats(values)


def flags(values: list, field: str, where: Callable[[int], str]) -> tuple[list[int], int]:
    """Return flags as 0 or 1, and how many of them were written in another way.

    0, 1, false, true, null (for 0), 0.0, 1.0 and the texts "0" and "1" are understood.

    Raises:
        ValueError: for anything else.
    """
    if set(map(type, values)) <= {int} and set(values) <= {0, 1}:
        return values, 0
    understood = {"0": 0, "1": 1, None: 0}
    result, mended = [], 0
    for index, value in enumerate(values):
        if isinstance(value, (str, type(None))) and value in understood:
            result.append(understood[value])
            mended += 1
        elif isinstance(value, (int, float)) and value in (0, 1):
            result.append(int(value))
        else:
            raise ValueError(
                f"Expected 0 or 1 as {field} in {where(index)}, but got {describe(value)}; write "
                "0 or 1."
            )
    return result, mended


def boxes_array(
    values: list, where: Callable[[int], str], field: str = "bbox"
) -> NDArray[np.float64]:
    """Return boxes ``[x, y, width, height]`` as an (N, 4) array; NaN and infinity stay in it.

    Raises:
        ValueError: a value is not a list of four numbers.
    """
    whole = set(map(type, values)) <= {list, tuple} and set(map(len, values)) <= {4}
    if not whole or not set(map(type, chain.from_iterable(values))) <= {int, float}:
        for index, box in enumerate(values):
            if not isinstance(box, (list, tuple)) or len(box) != 4 or not all(map(is_number, box)):
                got = repr(box)[:80] if isinstance(box, list) else describe(box)
                raise ValueError(
                    f"Expected a box [x, y, width, height] of numbers as {field} in "
                    f"{where(index)}, but got {got}; write four numbers."
                )
    return _as_floats(list(chain.from_iterable(values))).reshape(-1, 4)


def is_finite(value: Any) -> bool:
    """Tell whether a value is a finite number, neither a text nor true or false."""
    return is_number(value) and math.isfinite(_as_float(value))


def is_number(value: Any) -> bool:
    """Tell whether a value is a number, also NaN or infinite, but not true or false."""
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _as_floats(values: list) -> NDArray[np.float64]:
    try:
        return np.fromiter(values, np.float64, len(values))
    except OverflowError:
        return np.array([_as_float(value) for value in values], dtype=np.float64)


def _as_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf
