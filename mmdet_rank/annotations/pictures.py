"""Image files: finding them, and their size without decoding them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from .records import Picture

__all__ = [
    "CONVERSION",
    "DETECTIONS",
    "SPLITS",
    "SUFFIXES",
    "PictureIndex",
    "common_root",
    "fits_its_picture",
    "is_dark",
    "is_turned",
    "list_files",
    "of_any_size",
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
#: What a prediction leaves beside the pictures that it has drawn: a list of detections.
DETECTIONS = "detections.json"
_ORIENTATION = 0x0112
_TURNED = (5, 6, 7, 8)
#: What OpenCV, by which pictures are loaded, reads of the formats that Pillow knows. Of TIFF there
#: are kinds that it lacks, such as those of floats.
_LOADED = ("JPEG", "MPO", "PNG", "BMP", "WEBP")
_LOADED_MODES = ("1", "L", "RGB", "RGBA", "I;16", "I;16B")
_LOADED_CODECS = ("raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "jpeg")
_PHOTOGRAPHS = (".jpg", ".jpeg")


def list_files(
    folder: Path, suffixes: frozenset[str] = SUFFIXES, *, drawn: bool = False
) -> list[Path]:
    """List the files with one of the suffixes in a folder and below, sorted.

    Linked folders are entered. Hidden files are not in the list, nor those in the folder of a
    conversion or a training, nor pictures in that of a prediction, which people have within their
    data.

    Args:
        folder: Where to begin.
        suffixes: In small letters, with their dot.
        drawn: Whether pictures in the folder of a prediction are listed too.
    """
    found = []
    ours = set()
    predicted = set()
    for path in _walk(folder):
        inside = path.relative_to(folder).parts
        if inside[-2:] == CONVERSION.parts and len(inside) > len(CONVERSION.parts):
            ours.add(path.parents[1])
        if not drawn and inside[-1] == DETECTIONS and len(inside) > 1 and _is_predicted(path):
            predicted.add(path.parent)
        if path.suffix.lower() in suffixes and path.is_file():
            found.append(path)
    # Pictures alone are drawn; labels may lie beside a list of detections.
    aside = (ours | predicted) if suffixes <= SUFFIXES else ours
    return sorted(path for path in found if aside.isdisjoint(path.parents))


def _walk(folder: Path) -> Iterator[Path]:
    """Files below a folder but hidden ones; each folder once, by its own name before a link's."""
    seen: set[str] = set()
    waiting = [folder]
    while waiting:
        for place, folders, names in os.walk(waiting.pop(0)):
            real = os.path.realpath(place)
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            if real in seen:
                folders.clear()
                continue
            seen.add(real)
            inner = [Path(place, name) for name in folders]
            waiting += [path for path in inner if path.is_symlink()]
            yield from (Path(place, name) for name in names if not name.startswith("."))


def _is_predicted(file: Path) -> bool:
    """Tell whether a list of detections is one of `mmdet-rank predict`, which names pictures."""
    try:
        with file.open("rb") as content:
            head = content.read(4096).strip()
    except OSError:
        return False
    return head == b"[]" or (head[:1] == b"[" and b'"image_id"' in head and b'"file_name"' in head)


def split_of(path: Path, root: Path) -> str | None:
    """The split that a folder on the way from the root to a file is named after, or None."""
    for part in path.relative_to(root).parts[:-1]:
        if part.lower() in SPLITS:
            return SPLITS[part.lower()]
    return None


class PictureIndex:
    """Image files of a folder by their names, for annotation files that each have one picture.

    Attributes:
        files: All image files.
        undecided: How many annotations have several pictures among which nothing decides.
    """

    def __init__(self, root: Path) -> None:
        self.files = list_files(root)
        self.undecided = 0
        self._by_name: dict[str, list[Path]] = {}
        for path in self.files:
            self._by_name.setdefault(path.name.lower(), []).append(path)
            self._by_name.setdefault(path.stem.lower(), []).append(path)

    def find(self, annotation: Path, stated: str) -> Path | None:
        """The picture of an annotation file.

        Renamed pictures keep the old name inside of their annotation: the file's own name goes
        first. Of several it is the one of the stated name (beside ``a.jpg`` there may be a mask
        ``a.png``), of these a photograph, of these the one in most of the annotation's folders.

        Args:
            annotation: The file.
            stated: Name or path that it gives its picture, perhaps of another machine.
        """
        name = stated.replace("\\", "/").rpartition("/")[2].lower()
        found = self._by_name.get(annotation.stem.lower()) or self._by_name.get(name) or []
        folders = set(annotation.parts[:-1])

        def likeness(path: Path) -> tuple[bool, bool, int]:
            shared = sum(part in folders for part in path.parts[:-1])
            return path.name.lower() == name, path.suffix.lower() in _PHOTOGRAPHS, shared

        best = max(found, key=likeness, default=None)
        if best is not None:
            self.undecided += sum(likeness(path) == likeness(best) for path in found) > 1
        return best

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
        left_out["annotation files with several pictures of their name (the first counts)"] += (
            self.undecided
        )


def open_picture(path: Path, left_out: Counter[str]) -> Picture | None:
    """Read the size of an image file as it is shown.

    Args:
        path: The file.
        left_out: Counts the files that are not images, or none that OpenCV loads.

    Returns:
        A picture without objects; None for a file that cannot be read.
    """
    try:
        with of_any_size(), Image.open(path) as image:
            width, height = image.size
            turned, kind, deep = is_turned(image), image.format, _is_deep(image)
            loaded = _is_loaded(image)
        if turned and kind in ("JPEG", "MPO", "PNG"):
            width, height = height, width
        elif turned or not loaded:
            # OpenCV, by which pictures are loaded, turns those of some formats, and Pillow others.
            pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
            if pixels is None:
                raise ValueError
            height, width = pixels.shape[:2]
    except (OSError, SyntaxError, ValueError, cv2.error):
        left_out["pictures that cannot be read"] += 1
        return None
    return Picture(path, width, height, deep=deep)


def is_dark(path: Path) -> bool:
    """Tell whether a picture of 16 bits, of which OpenCV takes the upper 8, has little in them."""
    pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        return False
    colours = pixels if pixels.ndim == 2 else pixels[..., :3]  # opaque pixels have a bright alpha
    return int(colours.max()) < 2**12


def is_turned(image: Image.Image) -> bool:
    """Tell whether the metadata of an image that Pillow has opened turns it by a quarter.

    As in OpenCV it is the EXIF data, or the tags of a TIFF file, that do. `Image.getexif` has the
    orientation of XMP too, and looks for what a PNG does not begin with behind its pixels.
    """
    tags = getattr(image, "tag_v2", None)
    if tags is None:
        tags = Image.Exif()
        try:
            tags.load(image.info.get("exif", b""))
        except SyntaxError:  # It is broken, and turns nothing.
            return False
    return tags.get(_ORIENTATION) in _TURNED


def _is_deep(image: Image.Image) -> bool:
    """Tell whether an image that Pillow has opened has more than 8 bits in each of its channels."""
    # Pillow opens 16 bits of several channels as 8; what it will decode, such as "RGB;16B", tells.
    stored = any(";16" in str(tile[3]) for tile in getattr(image, "tile", [])[:1])
    return image.mode[:1] == "I" or (image.format in ("PNG", "TIFF") and stored)


def _is_loaded(image: Image.Image) -> bool:
    """Tell whether OpenCV loads an image that Pillow has opened for certain, by its head alone."""
    if image.format == "TIFF":
        return image.mode in _LOADED_MODES and image.info.get("compression") in _LOADED_CODECS
    return image.format in _LOADED


def fits_its_picture(
    picture: Picture, stated: tuple[float | None, float | None], left_out: Counter[str]
) -> bool:
    """Tell whether an annotation that states a size can be used with its picture.

    It cannot where the metadata turns the picture and the annotation states the size before that:
    nothing says which way round the boxes are.

    Args:
        picture: As it was opened.
        stated: Width and height, None where the annotation does not state them.
        left_out: Counts other sizes.
    """
    size = (picture.width, picture.height)
    if None in stated or stated == size:
        return True
    if stated == size[::-1]:
        with of_any_size(), Image.open(picture.file) as image:
            if is_turned(image):
                left_out[
                    "pictures that their metadata turns, and whose annotation states the size "
                    "before that (save them turned, without the metadata)"
                ] += 1
                return False
    left_out["pictures of another size than their annotation states (theirs counts)"] += 1
    return True


def common_root(folder: Path, files: Iterable[Path]) -> Path:
    """The folder given where all files lie in it, else the nearest above it that has them all.

    Raises:
        ValueError: If there is none, as with two drives of Windows.
    """
    for file in files:
        while not file.is_relative_to(folder):
            if folder == folder.parent:
                raise ValueError(
                    f"Expected all pictures on the drive of the annotations, but {file} is on "
                    "another; copy them to one drive."
                )
            folder = folder.parent
    return folder


@contextmanager
def of_any_size() -> Iterator[None]:
    """Let Pillow open pictures of 179 megapixels and more, of which only the head is read."""
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit
