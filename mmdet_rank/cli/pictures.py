"""The pictures that a user gives to be detected on, and where what is drawn on them goes."""

from __future__ import annotations

import glob
import os
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import mmdet_rank.register  # noqa: F401

import cv2
import mmcv
import numpy as np

from mmdet_rank.annotations.pictures import SUFFIXES, list_files
from mmdet_rank.cli.errors import UserError

__all__ = [
    "find_pictures",
    "make_folder",
    "places_below",
    "read_picture",
    "refuse_overwriting",
    "tell_unread",
    "text_places",
    "without_results",
]


def find_pictures(name: str) -> list[Path]:
    """List the picture, those of a folder and the folders in it, or those that a glob matches.

    Raises:
        UserError: There is none.
    """
    path = Path(name)
    if path.is_dir():
        # Drawn pictures too: who asks for them means them, and where results go is judged later.
        found = list_files(path, drawn=True)
    elif path.is_file():
        found = [path]
    else:
        matched = (Path(each) for each in sorted(glob.glob(name, recursive=True)))
        found = [each for each in matched if each.suffix.lower() in SUFFIXES]
    if not found:
        raise UserError(
            f"Expected a picture, a folder of pictures or a pattern such as 'data/*.jpg', but "
            f"{name} gives none ({', '.join(sorted(SUFFIXES))}; looked from {Path.cwd()})"
        )
    return [each.absolute() for each in found]


def without_results(pictures: Sequence[Path], folders: Sequence[Path], mark: Path) -> list[Path]:
    """Leave out what an earlier run has drawn, and say how many pictures that are.

    Args:
        pictures: Those found.
        folders: Where a run writes pictures.
        mark: What else every run writes. Without it, pictures in its folders are the user's own.

    Returns:
        The others; all where all are in such folders, which `refuse_overwriting` judges.

    Raises:
        UserError: The results would come among pictures of the user.
    """
    taken = {folder.resolve() for folder in folders}
    others = [
        picture
        for picture in pictures
        if taken.isdisjoint([folder := picture.parent.resolve(), *folder.parents])
    ]
    inside = len(pictures) - len(others)
    if not others or not inside:
        return list(pictures)
    where = " and ".join(map(str, folders))
    if not mark.exists():
        raise UserError(
            f"Expected another folder for the results than one with pictures to detect on, but "
            f"{inside} of {len(pictures)} are in {where}; give another, or empty it"
        )
    print(f"Left out {inside} pictures in {where}, where results go")
    return others


def places_below(pictures: Sequence[Path]) -> list[Path]:
    """The path of each picture below the folder that all have in common.

    Example:
        >>> [str(place) for place in places_below([Path("/x/a/1.png"), Path("/x/b/1.png")])]
        ['a/1.png', 'b/1.png']
    """
    root = Path(os.path.commonpath([picture.parent for picture in pictures]))
    return [picture.relative_to(root) for picture in pictures]


def text_places(places: Sequence[Path]) -> list[Path]:
    """Names of .json files for pictures, none twice where pictures differ by their suffix alone.

    Example:
        >>> [str(place) for place in text_places([Path("a.jpg"), Path("a.png"), Path("b.jpg")])]
        ['a.jpg.json', 'a.png.json', 'b.json']
    """
    number = Counter(place.with_suffix(".json") for place in places)
    return [
        place.with_suffix(".json")
        if number[place.with_suffix(".json")] == 1
        else place.with_name(f"{place.name}.json")
        for place in places
    ]


def refuse_overwriting(
    pictures: Sequence[Path], folder: Path, places: Sequence[Path], mark: Path
) -> None:
    """Refuse a folder in which what is drawn would take the place of a user's picture.

    Args:
        pictures: What is drawn on.
        folder: Where drawn pictures go.
        places: Their paths in it.
        mark: What else every run writes. Without it, what lies in the folder is the user's own.

    Raises:
        UserError: It would.
    """
    own = {picture.resolve() for picture in pictures}
    for place in places:
        if (folder / place).resolve() in own:
            raise UserError(
                f"Expected another folder for what is drawn than that of the pictures, but "
                f"{folder / place} is one of them and would be overwritten; give another"
            )
        if (folder / place).exists() and not mark.exists():
            raise UserError(
                f"Expected a folder for what is drawn without pictures of the same names, but "
                f"{folder / place} is there, which no earlier run drew, and would be overwritten; "
                "give another"
            )


def make_folder(folder: Path) -> None:
    """Make the folder of the results, and see whether files can be written there.

    Raises:
        UserError: They cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"0")
    except OSError as error:
        reason = "it is a file" if folder.is_file() else error.strerror
        raise UserError(
            f"Expected a folder for the results, but nothing can be written to {folder}: {reason}; "
            "give another, or make room"
        ) from error


def read_picture(path: Path) -> np.ndarray | None:
    """Read a picture as blue, green and red; None where it cannot be read."""
    try:
        return mmcv.imread(str(path))
    except (cv2.error, OSError):  # an empty file, one of too many pixels; one of another user
        return None


def tell_unread(unread: Sequence[Path], pictures: Sequence[Path], name: str) -> None:
    """Say which pictures cannot be read.

    Args:
        unread: Those.
        pictures: All of them.
        name: As the user gave them.

    Raises:
        UserError: None can be read.
    """
    if len(unread) == len(pictures):
        raise UserError(
            f"Expected pictures in {name}, but none of {len(pictures)} files can be read, such as "
            f"{unread[0]}; write them again"
        )
    for picture in unread:
        print(f"Left out {picture}, which cannot be read")
