"""Folders of images and masks: which belong together, and what a mask file says.

Needs NumPy, OpenCV, Pillow and, for ``.mat`` files, SciPy.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from .pictures import open_picture

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
MASK_SUFFIXES = (*IMAGE_SUFFIXES, ".mat", ".npy")
NUM_NAMES = 5
#: Where more than this share of a mask's greys has its own value all around, they are numbers. Of
#: edges it is up to a tenth as JPEG or blurred widely, a sixth if enlarged threefold in squares; of
#: objects of 6 pixels across it is a third.
_AREA_SHARE = 0.2
#: Share of white from which a value is white for certain, whatever its file was saved by.
_NEAR_WHITE = 7 / 8


class SeveralClassesError(ValueError):
    """A mask of numbers or colours of classes or objects, where one of a single class is wanted."""


@dataclass(frozen=True)
class MaskReader:
    """How a file becomes a mask of 0 (background) and 1 (foreground).

    Attributes:
        threshold: Share of white, in (0, 1), from which a pixel is foreground; files whose largest
            value is 1 have foreground wherever they are not 0.
        field: Path of the array in a ``.mat`` file, struct fields divided by dots.
        value: The one value that is foreground. Default: decided by ``threshold``, in masks whose
            values are not those of several classes.

    Example:
        >>> MaskReader(field="groundTruth.Segmentation", value=2).threshold
        0.5
    """

    threshold: float = 0.5
    field: str = "groundTruth.Segmentation"
    value: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise ValueError(
                f"Expected a mask threshold between 0 and 1 (a share of white), but got "
                f"{self.threshold}; 0.5 for grey masks."
            )

    def read(self, path: str | Path) -> np.ndarray:
        """Mask (H, W), uint8.

        Raises:
            FileNotFoundError: If there is no such file.
            SeveralClassesError: If the mask has colours, or numbers of classes or objects: small
                ones alone, others than two with a palette of colours, or such as fill areas between
                background and foreground.
            ValueError: If the file is not a mask.
        """
        values, numbered = _read_array(Path(path), self.field)
        if self.value is not None:
            return (values == self.value).astype(np.uint8)
        if _has_two_values(values):
            return (values > 0).astype(np.uint8)
        white = _white(values)
        least = self.threshold * white
        if values.max() < white / 8:
            wrong = f"its values are {_shown(np.unique(values))}"
        elif numbered and len(np.unique(values)) > 2:
            wrong = f"its palette has colours for {_shown(np.unique(values))}"
        elif len(areas := _areas_between(values, least, _NEAR_WHITE * white)):
            wrong = f"it has areas of {_shown(areas)} too"
        else:
            return (values >= least).astype(np.uint8)
        raise SeveralClassesError(
            f"Expected a mask of 0 and 1, or of 0 and {white}, in {path}, but {wrong}; give "
            "mask_value, the value that is foreground."
        )

    def greys(self, path: str | Path) -> np.ndarray:
        """Values of a file that are neither background nor foreground for certain, sorted."""
        values = np.unique(_read_array(Path(path), self.field)[0])
        if self.value is not None or _has_two_values(values):
            return values[:0]
        return values[(values > 0) & (values < _white(values))]


def find_pairs(
    images: str | Path,
    masks: str | Path,
    image_suffix: str | None = None,
    mask_suffix: str | None = None,
) -> list[tuple[Path, Path]]:
    """Images and their masks, by name, sub-folders included, sorted.

    Args:
        images: Folder of the images.
        masks: Folder of the masks; it may be the same.
        image_suffix: End of the images' names, such as ".jpg" or "_image.png". Default: that of
            any image format.
        mask_suffix: End of the masks' names, such as "_mask.png". Default: that of any image
            format, ".mat" or ".npy".

    Raises:
        FileNotFoundError: If a folder, or the partner of a file, is missing, or there is no image.
        ValueError: If two files have the same name but for the format, or one folder holds both
            and the suffixes do not tell them apart.
    """
    images, masks = Path(images), Path(masks)
    for kind, folder in (("images", images), ("masks", masks)):
        if not folder.is_dir():
            raise FileNotFoundError(
                f"Expected a folder of {kind}, but {folder} does not exist (looked from "
                f"{Path.cwd()}); set data_root or data_prefix."
            )
    if images.resolve() == masks.resolve() and (not image_suffix or not mask_suffix):
        raise ValueError(
            f"Expected img_suffix and seg_map_suffix for {images}, which holds images and masks, "
            "but at least one is missing; give both, such as '.jpg' and '.png'."
        )
    found_images = _by_name(images, image_suffix, IMAGE_SUFFIXES)
    found_masks = _by_name(masks, mask_suffix, MASK_SUFFIXES)
    if not found_images:
        raise FileNotFoundError(
            f"Expected images in {images}, but there is none whose name ends in "
            f"{image_suffix or ', '.join(IMAGE_SUFFIXES)}; set data_prefix or img_suffix."
        )
    for kind, folder, has, others in (
        ("a mask", masks, found_images, found_masks),
        ("an image", images, found_masks, found_images),
    ):
        alone = sorted(str(has[name]) for name in has.keys() - others.keys())
        if alone:
            more = f" and {len(alone) - NUM_NAMES} more" if len(alone) > NUM_NAMES else ""
            raise FileNotFoundError(
                f"Expected {kind} in {folder} for every file of the other kind, but there is none "
                f"for {', '.join(alone[:NUM_NAMES])}{more}; add them, or set seg_map_suffix."
            )
    return [(found_images[name], found_masks[name]) for name in sorted(found_images)]


def check_sizes(image: Path, mask: Path, shape: tuple[int, int]) -> None:
    """Refuse a mask that is not as large as its image is shown.

    Args:
        image: The image, which is loaded turned where its metadata says so.
        mask: The mask's file.
        shape: Height and width of the mask.

    Raises:
        ValueError: If the sizes differ, or the image cannot be read.
    """
    picture = open_picture(image, Counter())
    if picture is None:
        raise ValueError(f"Expected an image in {image}, but it cannot be read; save it anew.")
    if (picture.height, picture.width) != tuple(shape):
        raise ValueError(
            f"Expected a mask of {picture.width} x {picture.height} pixels in {mask}, as large as "
            f"{image} is shown, but it has {shape[1]} x {shape[0]}; scale or turn one of the two."
        )


def _by_name(folder: Path, suffix: str | None, formats: tuple[str, ...]) -> dict[str, Path]:
    """Files of a folder by what their paths have before the suffix."""
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.name.startswith(".") or not path.is_file():
            continue
        name = path.relative_to(folder).as_posix()
        if suffix is not None:
            if not name.endswith(suffix):
                continue
            name = name[: -len(suffix)]
        else:
            if path.suffix.lower() not in formats:
                continue
            name = name[: -len(path.suffix)]
        if name in found:
            raise ValueError(
                f"Expected one file of each name in {folder}, but got {found[name].name} and "
                f"{path.name}; set img_suffix or seg_map_suffix."
            )
        found[name] = path
    return found


def _read_array(path: Path, field: str) -> tuple[np.ndarray, bool]:
    """The values of a mask's file, and whether they are numbers of colours in a palette."""
    if not path.is_file():
        raise FileNotFoundError(f"Expected a mask, but {path} does not exist.")
    numbered = False
    try:
        if path.suffix.lower() == ".mat":
            values = _read_mat(path, field)
        elif path.suffix.lower() == ".npy":
            values = np.load(path, allow_pickle=False)
        else:
            with Image.open(path) as opened:
                grey = _without_palette(opened)
                values, numbered = np.asarray(grey), grey.mode == "P"
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"Expected a mask in {path}, but it cannot be read: {error}") from error
    if values.ndim == 3:
        values = _one_channel(path, values)
    if values.ndim != 2 or values.dtype.kind not in "biuf":
        raise ValueError(
            f"Expected a mask of height x width in {path}, but got shape {values.shape} of "
            f"{values.dtype}."
        )
    return values, numbered


def _without_palette(image: Image.Image) -> Image.Image:
    """An image in its greys, if its palette has greys alone; else its numbers are of classes."""
    if image.mode == "PA":
        return image.convert("RGBA")
    if image.mode == "P":
        colours = np.asarray(image.convert("RGB"))
        if (colours == colours[..., :1]).all():
            return image.convert("L")
    return image


def _one_channel(path: Path, values: np.ndarray) -> np.ndarray:
    """The grey values of a mask saved in colour; an alpha channel is left out."""
    colours = values[..., : 3 if values.shape[2] in (3, 4) else 1]
    if (colours != colours[..., :1]).any():
        raise SeveralClassesError(
            f"Expected a grey mask in {path}, but its colour channels differ; save it in grey."
        )
    return colours[..., 0]


def _read_mat(path: Path, field: str) -> np.ndarray:
    from scipy.io import loadmat

    try:
        node = loadmat(path, squeeze_me=True, struct_as_record=False)
    except (ValueError, TypeError, NotImplementedError) as error:
        raise ValueError(
            f"Expected a MATLAB file of version 7 or older in {path}, but it cannot be read: "
            f"{error}"
        ) from error
    for name in field.split("."):
        inner = node.get(name) if isinstance(node, dict) else getattr(node, name, None)
        if inner is None:
            names = node if isinstance(node, dict) else getattr(node, "_fieldnames", ())
            raise ValueError(
                f"Expected {field} in {path}, but {name} is not among "
                f"{', '.join(sorted(key for key in names if not key.startswith('_'))) or 'nothing'}"
                "; set mat_field."
            )
        node = inner
    return np.asarray(node)


def _has_two_values(values: np.ndarray) -> bool:
    """Whether a mask is of 0 and 1, or in floats of 0 and any one value above 1."""
    greatest = values.max(initial=0)
    if values.dtype.kind == "f":
        # Between 0 and 1 they are shares of white.
        return bool(np.isin(values, (0, max(greatest, 1))).all())
    return greatest <= 1


def _areas_between(values: np.ndarray, least: float, near_white: float) -> np.ndarray:
    """Numbers that fill areas of a mask beside its background and its foreground, sorted.

    These two are the most common values of areas on their side of ``least``, for what JPEG makes of
    0 and 255 may be 2 and 253. Greys of edges (smooth, blurred or compressed) are gradients: hardly
    one has its own value all around. So where a good share of the greys does, they are numbers of
    classes or objects, such as 1 and 2 beside a background of 0 and a void of 255.

    Args:
        values: The mask.
        least: The value from which they are foreground.
        near_white: The value from which they are white for certain.
    """
    if values.dtype.kind == "f" and (values % 1).any():
        return values[:0, 0]  # Shares of white, for numbers are whole.
    if not ((values > values.min()) & (values < near_white)).any():
        return values[:0, 0]  # Two values, as most masks have; the rest takes a while.
    # OpenCV has no erosion of wider integers.
    known = values if values.dtype in (np.uint8, np.uint16) else values.astype(np.float64)
    around = np.ones((3, 3), np.uint8)
    alike = cv2.erode(known, around) == cv2.dilate(known, around)
    # Pixels on the border have fewer neighbours, and would be alike by chance.
    alike[[0, -1]] = alike[:, [0, -1]] = False
    numbers, counts = np.unique(known[alike], return_counts=True)
    sides = (numbers < least, numbers >= least)
    common = [numbers[side][counts[side].argmax()] for side in sides if side.any()]
    grey = (known < near_white) & ~np.isin(known, common)
    areas = grey & alike
    if areas.sum() <= _AREA_SHARE * grey.sum():
        return numbers[:0]
    return np.unique(known[areas])


def _white(values: np.ndarray) -> float:
    """The value of a pixel that is foreground for certain: by the type, or else by the range."""
    if values.dtype in (np.uint8, np.uint16):
        return float(np.iinfo(values.dtype).max)
    greatest = float(values.max(initial=0))
    whites = (1.0, 255.0, 65535.0) if values.dtype.kind == "f" else (255.0, 65535.0)
    return next((white for white in whites if greatest <= white), greatest)


def _shown(values: np.ndarray) -> str:
    more = ", ..." if len(values) > NUM_NAMES else ""
    return ", ".join(f"{value:g}" for value in values[:NUM_NAMES]) + more
