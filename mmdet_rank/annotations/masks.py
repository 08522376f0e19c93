"""Pictures with masks of one class each: every connected part of a mask is an object."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as mask_utils

from .mask_files import MaskReader, SeveralClassesError
from .pictures import SPLITS, list_files, open_picture, split_of
from .records import DataSet, Picture, add_object

__all__ = ["find_masks", "read_masks"]

FORM = "masks"
_MASK_FOLDERS = frozenset(
    {"masks", "mask", "annotations", "labels", "groundtruth", "ground_truth", "gt", "segmentation"}
)
_IMAGE_FOLDERS = frozenset({"images", "image", "imgs", "img"})
_PHOTOGRAPHS = frozenset({".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".png"})
_MASKS = frozenset({".png", ".bmp", ".tif", ".tiff"})
#: Parts of fewer pixels are specks of the labelling, not objects.
MIN_PIXELS = 10


@dataclass
class _Found:
    """Pictures and masks of a folder.

    Attributes:
        masks: the masks of each picture that has some.
        alone: pictures without one.
        unused: masks without a picture.
    """

    masks: dict[Path, list[Path]] = field(default_factory=dict)
    alone: list[Path] = field(default_factory=list)
    unused: list[Path] = field(default_factory=list)


def find_masks(root: Path) -> list[tuple[Path, Path]]:
    """List pairs of a picture and a mask of it.

    A mask has the name of its picture, perhaps with _mask behind it. It lies beside the picture, or
    in a folder called masks (mask, labels, groundtruth, ...) beside that of the pictures, where
    each class may have a folder of its own.
    """
    if not root.is_dir():
        return []
    return [(picture, mask) for picture, masks in _look(root).masks.items() for mask in masks]


def read_masks(root: Path) -> DataSet:
    """Read pictures with masks.

    The class of a mask is the name of the nearest folder that is not called after what it holds
    (images, masks, train, ...), so that ``Crack/Imgs/a.png`` and ``masks/Crack/a.png`` have cracks;
    without such a folder it is the name of the root. Pixels brighter than half count as object, in
    a mask of 0 and 1 those of 1; each part of connected pixels (also over corners) is an object of
    its own.

    Args:
        root: Folder of the pictures and masks.

    Raises:
        ValueError: If no mask has an object.
    """
    left_out: Counter[str] = Counter()
    splits: dict[str, list[Picture]] = {}
    names = set()
    found = _look(root)
    for file, masks in found.masks.items():
        picture = open_picture(file, left_out)
        if picture is None:
            continue
        read = [_add_parts(picture, mask, _class_of(mask, root), left_out) for mask in masks]
        # A mask that can be read and has no object says that there is none.
        picture.marked = len(picture.objects) + read.count(False)
        names |= {labelled.category for labelled in picture.objects}
        splits.setdefault(split_of(file, root) or "train", []).append(picture)
    counts = {"pictures without a mask": found.alone, "masks without a picture": found.unused}
    left_out.update({reason: len(files) for reason, files in counts.items() if files})
    if not names:
        reasons = "; ".join(f"{number} {reason}" for reason, number in left_out.items() if number)
        raise ValueError(
            f"Expected masks with bright pixels in {root}, but none has an object "
            f"({reasons or 'all are empty'}); objects are 255 (or 1), the rest is 0, and every "
            "class has masks of its own."
        )
    categories = {name: number for number, name in enumerate(sorted(names), start=1)}
    return DataSet(FORM, root, categories, splits, left_out)


def _look(root: Path) -> _Found:
    found = _Found()
    masks: list[Path] = []
    pictures: dict[tuple[Path, str], Path] = {}
    # Photographs before what may be a mask beside them.
    for path in sorted(list_files(root, _PHOTOGRAPHS), key=lambda p: p.suffix.lower() in _MASKS):
        folder = path.parent.relative_to(root)
        if any(part.lower() in _MASK_FOLDERS for part in folder.parts):
            masks.append(path)
            continue
        # images/train/a.jpg goes with masks/train/a.png.
        first = pictures.setdefault((_without(folder, _IMAGE_FOLDERS), path.stem), path)
        if first != path:
            beside = first.parent == path.parent and path.suffix.lower() in _MASKS
            known = beside and first.suffix.lower() not in _MASKS
            (masks if known else found.alone).append(path)
    for (folder, stem), path in list(pictures.items()):
        # a_mask.png beside a.jpg
        if _stem(path) != stem and (folder, _stem(path)) in pictures:
            masks.append(pictures.pop((folder, stem)))
    for mask in sorted(masks):
        picture = _picture_of(mask, root, pictures)
        if picture is None:
            found.unused.append(mask)
        else:
            found.masks.setdefault(picture, []).append(mask)
    found.alone += [path for path in pictures.values() if path not in found.masks]
    return found


def _picture_of(mask: Path, root: Path, pictures: dict[tuple[Path, str], Path]) -> Path | None:
    folder = _without(mask.parent.relative_to(root), _MASK_FOLDERS | _IMAGE_FOLDERS)
    folders = [folder]
    # Of masks in a folder for each class the pictures are in common.
    for place, part in enumerate(folder.parts):
        if part.lower() not in SPLITS:
            folders.append(Path(*folder.parts[:place], *folder.parts[place + 1 :]))
    for each in folders:
        for stem in (mask.stem, _stem(mask)):
            picture = pictures.get((each, stem))
            if picture is not None:
                return picture
    return None


def _add_parts(picture: Picture, mask: Path, name: str, left_out: Counter[str]) -> bool:
    """Add the objects of a mask to its picture; return whether it can be used."""
    reader = MaskReader()
    try:
        pixels = reader.read(mask)
        if not pixels.any() and reader.greys(mask).size:
            raise SeveralClassesError(f"{mask} has values below the half of white alone.")
    except SeveralClassesError:
        left_out["masks of numbers or colours of classes, which are not taken"] += 1
        return False
    except ValueError:
        left_out["masks that cannot be read"] += 1
        return False
    if pixels.shape != (picture.height, picture.width):
        left_out["masks of another size than their picture"] += 1
        return False
    number, labels, parts, _ = cv2.connectedComponentsWithStats(pixels, connectivity=8)
    for label in range(1, number):
        left, top, width, height, area = (int(value) for value in parts[label])
        if area < MIN_PIXELS:
            left_out[f"specks of under {MIN_PIXELS} pixels"] += 1
            continue
        encoded = mask_utils.encode(np.asfortranarray(labels == label, dtype=np.uint8))
        encoded["counts"] = encoded["counts"].decode("ascii")
        corners = (left, top, left + width, top + height)
        add_object(picture, name, corners, left_out, segmentation=encoded, area=float(area))
    return True


def _class_of(mask: Path, root: Path) -> str:
    generic = _IMAGE_FOLDERS | _MASK_FOLDERS | SPLITS.keys()
    folders = [*root.parts, *mask.relative_to(root).parts[:-1]]
    named = [part for part in folders if part.lower() not in generic]
    return named[-1] if named else root.name


def _without(folder: Path, names: frozenset[str]) -> Path:
    return Path(*(part for part in folder.parts if part.lower() not in names))


def _stem(mask: Path) -> str:
    for ending in ("_mask", "_gt", "-mask", "_label"):
        if mask.stem.endswith(ending):
            return mask.stem.removesuffix(ending)
    return mask.stem
