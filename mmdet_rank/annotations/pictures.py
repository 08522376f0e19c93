"""Image files: finding them, and their size without decoding them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from pathlib import Path

from PIL import Image

from .records import Picture

__all__ = [
    "CONVERSION",
    "SPLITS",
    "SUFFIXES",
    "PictureIndex",
    "list_files",
    "open_picture",
    "split_of",
]

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
#: Names of folders and files by which splits go.
SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
#: What a conversion leaves in its folder.
CONVERSION = Path("annotations", "conversion.json")
_ORIENTATION = 0x0112
_TURNED = (5, 6, 7, 8)


def list_files(folder: Path, suffixes: frozenset[str] = SUFFIXES) -> list[Path]:
    """List the files with one of the suffixes in a folder and below, sorted.

    Hidden ones are not among them, nor those in the folder of a conversion or a training, which
    people have within their data.
    """
    found = []
    ours = set()
    for path in folder.rglob("*"):
        inside = path.relative_to(folder).parts
        if any(part.startswith(".") for part in inside):
            continue
        if inside[-2:] == CONVERSION.parts and len(inside) > len(CONVERSION.parts):
            ours.add(path.parents[1])
        if path.suffix.lower() in suffixes and path.is_file():
            found.append(path)
    return sorted(path for path in found if ours.isdisjoint(path.parents))


def split_of(path: Path, root: Path) -> str | None:
    """The split that a folder on the way from the root to a file is named after, or None."""
    for part in path.relative_to(root).parts[:-1]:
        if part.lower() in SPLITS:
            return SPLITS[part.lower()]
    return None


class PictureIndex:
    """Image files of a folder by their names, for annotation files that each have one picture."""

    def __init__(self, root: Path) -> None:
        self.files = list_files(root)
        self._by_name: dict[str, list[Path]] = {}
        for path in self.files:
            self._by_name.setdefault(path.name.lower(), []).append(path)
            self._by_name.setdefault(path.stem.lower(), []).append(path)

    def find(self, annotation: Path, stated: str) -> Path | None:
        """The picture of an annotation file.

        Renamed pictures keep the old name inside of their annotation: the file's own name goes
        first. Of pictures with one name it is the one that shares most of its folders with the
        annotation.

        Args:
            annotation: The file.
            stated: Name or path that it gives its picture, perhaps of another machine.
        """
        name = stated.replace("\\", "/").rpartition("/")[2]
        found = self._by_name.get(annotation.stem.lower()) or self._by_name.get(name.lower()) or []
        parts = annotation.parts

        def shared(path: Path) -> int:
            return sum(a == b for a, b in zip(path.parts, parts, strict=False))

        return max(found, key=shared, default=None)

    def count_unused(
        self, root: Path, pictures: Collection[Picture], kind: str, left_out: Counter[str]
    ) -> None:
        """Count the image files that no annotation file has.

        Args:
            root: The folder.
            pictures: Those that have one.
            kind: What the annotation files are.
            left_out: Counts by reason.

        Raises:
            ValueError: If there is no picture.
        """
        if not pictures:
            raise ValueError(
                f"Expected pictures beside the annotations in {root}, but none of the {kind} files "
                "has its picture; give the folder that holds both."
            )
        used = {picture.file for picture in pictures}
        left_out["pictures without an annotation file"] += sum(f not in used for f in self.files)


def open_picture(path: Path, left_out: Counter[str]) -> Picture | None:
    """Read the size of an image file as it is shown.

    Args:
        path: The file.
        left_out: Counts the files that are not images.

    Returns:
        A picture without objects; None for a file that cannot be read.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            if image.getexif().get(_ORIENTATION) in _TURNED:
                width, height = height, width
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        left_out["pictures that cannot be read"] += 1
        return None
    return Picture(path, width, height)
