"""Pictures with masks of one class each: every connected part of a mask is an object."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as mask_utils

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
_HALF = 127
#: Parts of fewer pixels are specks of the labelling, not objects.
MIN_PIXELS = 10


def find_masks(root: Path) -> list[tuple[Path, Path]]:
    """List pairs of a picture and its mask.

    A mask has the name of its picture, and lies beside it with another suffix, or in a folder
    called masks (mask, labels, groundtruth, ...) beside that of the pictures.
    """
    if not root.is_dir():
        return []
    masks: dict[tuple[Path, str], Path] = {}
    pictures = []
    for path in list_files(root, _PHOTOGRAPHS):
        parts = path.relative_to(root).parts
        named = [part.lower() in _MASK_FOLDERS for part in parts[:-1]]
        if any(named):
            # images/train/a.jpg goes with masks/train/a.png.
            key = _without(path.parent.relative_to(root), _MASK_FOLDERS)
            masks.setdefault((key, _stem(path)), path)
        else:
            pictures.append(path)
    pairs = []
    beside = {path for path in pictures if path.suffix.lower() in _MASKS}
    for path in pictures:
        key = _without(path.parent.relative_to(root), _IMAGE_FOLDERS)
        mask = masks.get((key, path.stem))
        if mask is None:
            others = [path.with_suffix(suffix) for suffix in sorted(_MASKS)]
            mask = next((other for other in others if other != path and other in beside), None)
            if path.suffix.lower() in _MASKS:
                mask = None
        if mask is not None:
            pairs.append((path, mask))
    return pairs


def read_masks(root: Path) -> DataSet:
    """Read pictures with masks.

    The class of a mask is the name of the nearest folder that is not called after what it holds
    (images, masks, train, ...), so that ``Crack/Imgs/a.jpg`` has cracks; without such a folder it
    is the name of the root. Pixels brighter than half count as object, in a mask of 0 and 1 those
    of 1; each part of connected pixels (also over corners) is an object of its own.

    Args:
        root: Folder of the pictures and masks.

    Raises:
        ValueError: If no mask has an object.
    """
    left_out: Counter[str] = Counter()
    splits: dict[str, list[Picture]] = {}
    names = set()
    for file, mask in find_masks(root):
        picture = open_picture(file, left_out)
        if picture is None:
            continue
        name = _class_of(file, root)
        _add_parts(picture, mask, name, left_out)
        names |= {labelled.category for labelled in picture.objects}
        splits.setdefault(split_of(file, root) or "train", []).append(picture)
    if not names:
        raise ValueError(
            f"Expected masks with bright pixels in {root}, but all of them are empty; objects are "
            "255 (or 1) and the rest is 0."
        )
    categories = {name: number for number, name in enumerate(sorted(names), start=1)}
    return DataSet(FORM, root, categories, splits, left_out)


def _add_parts(picture: Picture, mask: Path, name: str, left_out: Counter[str]) -> None:
    pixels = cv2.imdecode(np.fromfile(mask, np.uint8), cv2.IMREAD_GRAYSCALE)
    if pixels is None:
        left_out["masks that cannot be read"] += 1
        return
    if pixels.shape != (picture.height, picture.width):
        left_out["masks of another size than their picture"] += 1
        return
    bright = (pixels > (_HALF if pixels.max() > 1 else 0)).astype(np.uint8)
    number, labels, parts, _ = cv2.connectedComponentsWithStats(bright, connectivity=8)
    for label in range(1, number):
        left, top, width, height, area = (int(value) for value in parts[label])
        if area < MIN_PIXELS:
            left_out[f"specks of under {MIN_PIXELS} pixels"] += 1
            continue
        encoded = mask_utils.encode(np.asfortranarray(labels == label, dtype=np.uint8))
        encoded["counts"] = encoded["counts"].decode("ascii")
        corners = (left, top, left + width, top + height)
        add_object(picture, name, corners, left_out, segmentation=encoded, area=float(area))


def _class_of(file: Path, root: Path) -> str:
    generic = _IMAGE_FOLDERS | _MASK_FOLDERS | SPLITS.keys()
    folders = file.relative_to(root).parts[:-1]
    named = [part for part in folders if part.lower() not in generic]
    return named[-1] if named else root.name


def _without(folder: Path, names: frozenset[str]) -> Path:
    return Path(*(part for part in folder.parts if part.lower() not in names))


def _stem(mask: Path) -> str:
    for ending in ("_mask", "_gt", "-mask", "_label"):
        if mask.stem.endswith(ending):
            return mask.stem.removesuffix(ending)
    return mask.stem
