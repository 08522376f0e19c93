"""Splitting pictures into those to train on and those to measure on."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from .records import Picture

__all__ = ["split_pictures"]

#: So many classes may each give a picture, whatever the share.
_FEW = 10


def split_pictures(
    pictures: Sequence[Picture], share: float, seed: int
) -> tuple[list[Picture], list[Picture]]:
    """Take a share of pictures away, of every class about the same share.

    Pictures are grouped by the rarest class in them, and each group is split by a number that is
    drawn from the seed and the picture's name. The same names and seed give the same split in
    whatever form the data comes. A class of too few pictures for the share gives one of them,
    unless there are so many such classes that these alone would be more than the share.

    Objects to be ignored do not count: a picture that has no other says nothing about its classes,
    neither in training nor in measuring, and is split with those without objects.

    Args:
        pictures: To be split.
        share: What to take away, between 0 and 1.
        seed: Of the draw.

    Returns:
        What stays and what was taken, each in the order given.
    """
    found = [
        [labelled.category for labelled in picture.objects if not labelled.ignored]
        for picture in pictures
    ]
    frequency = Counter(name for names in found for name in names)
    groups: dict[str, list[Picture]] = defaultdict(list)
    for picture, names in zip(pictures, found, strict=True):
        rarest = min(names, key=lambda name: (frequency[name], name), default="")
        groups[rarest].append(picture)
    taken: set[int] = set()
    rare: list[Picture] = []

    def order(picture: Picture) -> tuple[str, Path]:
        return _draw(picture, seed), picture.file

    for name in sorted(groups):
        drawn = sorted(groups[name], key=order)
        number = min(round(share * len(drawn)), len(drawn) - 1)
        taken |= {id(picture) for picture in drawn[:number]}
        if not number and len(drawn) > 1:
            # Two pictures of a class are enough for one on each side.
            rare.append(drawn[0])
    room = max(round(share * len(pictures)), _FEW)
    taken |= {id(picture) for picture in sorted(rare, key=order)[:room]}
    labelled = [picture for picture, names in zip(pictures, found, strict=True) if names]
    for some in (labelled, pictures):
        if len(some) > 1 and not any(id(picture) in taken for picture in some):
            taken.add(id(min(some, key=order)))
    stay = [picture for picture in pictures if id(picture) not in taken]
    return stay, [picture for picture in pictures if id(picture) in taken]


def _draw(picture: Picture, seed: int) -> str:
    return hashlib.sha256(f"{seed}/{picture.file.stem}".encode()).hexdigest()
