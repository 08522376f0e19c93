"""The pictures that an annotation file names: whether they are there, readable and of its size."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any

from PIL import Image

from .pictures import is_turned, of_any_size

__all__ = ["ImageFiles", "check_image_files"]


@dataclass
class ImageFiles:
    """State of the pictures of a file. Entries go by their index in ``images``.

    Attributes:
        num_checked: how many pictures were opened.
        missing: entries whose file does not exist, with its path.
        unreadable: entries whose file is not a picture that Pillow knows, with its path and why.
        other_size: entries whose picture has another width and height than stated, with both.
        num_renamed: entries whose ``file_name`` was written with backslashes.
    """

    num_checked: int = 0
    missing: list[tuple[int, Path]] = field(default_factory=list)
    unreadable: list[tuple[int, Path, str]] = field(default_factory=list)
    other_size: list[tuple[int, tuple[int, int], tuple[int, int]]] = field(default_factory=list)
    num_renamed: int = 0


def check_image_files(
    images: Sequence[dict], folder: str | Path, *, seconds: float = 5.0
) -> ImageFiles:
    """Look at the pictures of an annotation file, at as many as there is time for.

    Only the headers of pictures are read, in an order drawn by a fixed seed, the first one first.
    A picture that its metadata turns by a quarter may be stated in either way. Names with
    backslashes, as Windows writes them, are changed to slashes in ``images`` where only that names
    a file.

    Args:
        images: checked entries with ``file_name``, and perhaps ``width`` and ``height``.
        folder: what the names are relative to.
        seconds: time for the names, and once more for the headers.
    """
    folder = Path(folder)
    found = ImageFiles()
    order = list(range(1, len(images)))
    random.Random(0).shuffle(order)
    order = [0, *order][: len(images)]
    _rename(images, folder, found)
    there = []
    end = time.monotonic() + seconds
    for index in order:
        path = folder / images[index]["file_name"]
        if path.is_file():
            there.append((index, path))
        else:
            found.missing.append((index, path))
        if time.monotonic() > end:
            break
    end = time.monotonic() + seconds
    for index, path in there:
        try:
            with of_any_size(), Image.open(path) as picture:
                size = picture.size
                turned = is_turned(picture)
        # Pillow raises SyntaxError, ValueError and others for headers that are broken.
        except Exception as error:
            found.unreadable.append((index, path, f"{type(error).__name__}: {error}"))
            continue
        found.num_checked += 1
        stated: tuple[Any, Any] = images[index].get("width"), images[index].get("height")
        if None not in stated and stated != size and not (turned and stated == size[::-1]):
            found.other_size.append((index, stated, size[::-1] if turned else size))
        if time.monotonic() > end:
            break
    for entries in (found.missing, found.unreadable, found.other_size):
        entries.sort(key=lambda entry: entry[0])
    return found


def _rename(images: Sequence[dict], folder: Path, found: ImageFiles) -> None:
    for image in images:
        name = image["file_name"]
        if "\\" in name and not (folder / name).exists():
            image["file_name"] = PureWindowsPath(name).as_posix()
            found.num_renamed += 1
