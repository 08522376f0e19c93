"""Make the digits data set on disk: whole or not at all, and only when it is not there yet."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from mmdet_rank.datasets.digits import coco
from mmdet_rank.datasets.digits.compose import compose
from mmdet_rank.datasets.digits.manifest import (
    RECIPE_VERSION,
    content_hash,
    differences,
    read_manifest,
    write_manifest,
)
from mmdet_rank.datasets.digits.metainfo import CLASSES
from mmdet_rank.datasets.digits.motion import compose_clip
from mmdet_rank.datasets.digits.options import DigitsOptions
from mmdet_rank.datasets.digits.sources import SPLITS, load_photographs, load_scans

#: Fewest and most digits that are pasted on one image.
DIGITS_PER_IMAGE = (2, 6)
JPEG_QUALITY = 95


@dataclass(frozen=True)
class DigitsReport:
    """The data set that :func:`build_digits` made or found.

    Attributes:
        folder: Where the data set lies.
        made: Whether it was made now; False when it was there already.
        counts: ``{split: {'images': int, 'digits': int, 'per_class': {name: int}}}``; of clips,
            images are frames, and a digit counts in every frame that shows it.
    """

    folder: Path
    made: bool
    counts: dict


def build_digits(
    out: str | os.PathLike,
    options: DigitsOptions | None = None,
    *,
    overwrite: bool = False,
    progress: bool = True,
) -> DigitsReport:
    """Make the digits data set in folder ``out``, or find it there.

    The folder then holds ``train/`` and ``val/`` (JPEG images), ``manifest.json``, and in
    ``annotations/`` ``instances_train.json`` and ``instances_val.json`` (COCO's format, boxes and
    masks) and ``image_info_val.json`` (the validation images without their annotations, as COCO
    gives out test-dev).

    Args:
        out: Folder of the data set; it is made when it does not exist.
        options: What to make; the defaults when None.
        overwrite: Replace a digits data set that is there and differs.
        progress: Show a progress bar on standard error.

    Raises:
        FileExistsError: If ``out`` holds a data set made with other options or altered since, and
            ``overwrite`` is off, or anything that is not a digits data set.
        NotADirectoryError: If ``out`` is a file.
    """
    options = options or DigitsOptions()
    folder = Path(out).expanduser().resolve()
    found = _find(folder, options, overwrite)
    if found is not None:
        return found
    with _replacing(folder) as partial:
        counts = {}
        total = options.train + options.val
        with tqdm(
            total=total, unit="image", desc="digits", mininterval=0.5, disable=not progress
        ) as bar:
            for split in SPLITS:
                counts[split] = _build_split(partial, split, options, bar)
        write_manifest(partial, options, counts)
    return DigitsReport(folder, True, counts)


def _find(folder: Path, options: DigitsOptions, overwrite: bool) -> DigitsReport | None:
    """The data set that is asked for, if it is there; None if it may be made."""
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"Expected a folder to write to, but {folder} is a file.")
    if not folder.exists() or not any(folder.iterdir()):
        return None
    manifest = read_manifest(folder)
    if manifest is None:
        raise FileExistsError(
            f"{folder} is not empty and holds no digits data set; choose another folder."
        )
    reasons = differences(manifest, options)
    if not reasons and content_hash(folder) != manifest["sha256"]:
        reasons = ["files were changed, added or lost since it was made"]
    if not reasons:
        return DigitsReport(folder, False, manifest["counts"])
    if overwrite:
        return None
    raise FileExistsError(
        f"{folder} holds another digits data set: {'; '.join(reasons)}. "
        "Choose another folder, or replace it with --overwrite (overwrite=True)."
    )


@contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """Give a new folder to fill, which takes the place of ``folder`` once it is complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    unique = uuid.uuid4().hex[:8]
    partial = folder.with_name(f".{folder.name}-{unique}-partial")
    replaced = folder.with_name(f".{folder.name}-{unique}-replaced")
    partial.mkdir()
    try:
        yield partial
        if folder.exists():
            os.replace(folder, replaced)
        os.replace(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)


def _build_split(folder: Path, split: str, options: DigitsOptions, bar: tqdm) -> dict:
    """Write images and annotations of one split; returns how many there are of each class."""
    photographs, scans = load_photographs(split), load_scans(split)
    streams = np.random.SeedSequence([options.seed, SPLITS.index(split)]).spawn(2)
    num_images = getattr(options, split)
    plan = plan_labels(num_images, options, np.random.default_rng(streams[0]))
    images: list[dict] = []
    annotations: list[dict] = []
    (folder / split).mkdir()
    clip = options.frames > 1
    for number, (labels, stream) in enumerate(
        zip(plan, streams[1].spawn(num_images), strict=True), start=1
    ):
        rng = np.random.default_rng(stream)
        if clip:
            pictures = compose_clip(photographs, scans, labels, options.size, options.frames, rng)
        else:
            pictures = [compose(photographs, scans, labels, options.size, rng)]
        for frame, (picture, instances) in enumerate(pictures):
            image_id = len(images) + 1
            file_name = f"{image_id:06d}.jpg"
            _write_jpeg(folder / split / file_name, picture)
            place = (number, frame) if clip else None
            images.append(coco.image_record(image_id, file_name, options.size, place))
            for instance in instances:
                annotations.append(coco.annotation_record(len(annotations) + 1, image_id, instance))
        bar.update()
    info = {
        "description": f"Handwritten digits in photographs, {split}",
        "version": str(RECIPE_VERSION),
    }
    videos = [{"id": number + 1, "name": f"{number + 1:06d}"} for number in range(num_images)]
    _write_json(
        folder / "annotations" / f"instances_{split}.json",
        coco.document(info, images, annotations) | ({"videos": videos} if clip else {}),
    )
    if split == "val":
        _write_json(
            folder / "annotations" / f"image_info_{split}.json",
            coco.document(info, images, None),
        )
    per_class = dict.fromkeys(CLASSES, 0)
    for annotation in annotations:
        per_class[CLASSES[annotation["category_id"] - 1]] += 1
    return {"images": len(images), "digits": len(annotations), "per_class": per_class}


def plan_labels(
    num_images: int, options: DigitsOptions, rng: np.random.Generator
) -> list[np.ndarray]:
    """Decide which digits every image gets, so that class frequencies come out as asked for.

    The shares of the classes are met for the split as a whole to within one digit per class; only
    how the digits fall on the images is random.

    Returns:
        One (N,) int64 array of labels per image.
    """
    per_image = rng.integers(*DIGITS_PER_IMAGE, size=num_images, endpoint=True)
    edges = np.rint(per_image.sum() * np.cumsum([0.0, *options.class_shares(len(CLASSES))]))
    labels = np.repeat(np.arange(len(CLASSES)), np.diff(edges).astype(np.int64))
    return np.split(rng.permutation(labels), np.cumsum(per_image)[:-1])


def _write_jpeg(path: Path, picture: np.ndarray) -> None:
    encoded, data = cv2.imencode(
        ".jpg", picture[..., ::-1], [int(cv2.IMWRITE_JPEG_QUALITY), JPEG_QUALITY]
    )
    if not encoded:
        raise OSError(f"OpenCV could not encode the image for {path}.")
    path.write_bytes(data.tobytes())


def _write_json(path: Path, content: dict) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
