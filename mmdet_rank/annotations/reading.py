"""Annotation files: each is parsed once, whoever asks for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mmdet_rank.files import load_json, without_garbage_collection, write_json

from .coco import check_categories, check_coco
from .fields import describe
from .found import CocoAnnotations

__all__ = ["forget_files", "make_coco", "read_categories", "read_coco", "write_coco"]

_parsed: dict[tuple[Path, int, int], Any] = {}
_checked: dict[tuple, CocoAnnotations] = {}


def read_coco(
    path: str | Path,
    *,
    use: str = "training",
    iou_types: Sequence[str] = ("bbox",),
    progress: Callable[..., Any] | None = None,
) -> CocoAnnotations:
    """Read and check a COCO annotation file.

    A file that has not changed since (by time and size) is neither parsed nor checked again, until
    :func:`forget_files`. So callers must not change what they get.

    Args:
        path: the file.
        use: ``training``, where objects that no detector can use are left out and counted;
            ``evaluation``, where they are refused; or ``listing``, for the images that a detector
            is run on, which is the same but for a file that may have no annotations.
        iou_types: what objects are needed for: ``bbox``, ``segm``, ``keypoints``.
        progress: makes a progress bar for large files, as ``tqdm.tqdm`` does.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it is not what it should be; see :func:`check_coco`.
    """
    path = Path(path)
    stamp = _stamp(path)
    data = _parse(path, stamp, progress)
    if use == "listing" and isinstance(data, dict) and "annotations" in data:
        use = "evaluation"
    key = (stamp, use, tuple(sorted(iou_types)))
    if stamp is None or key not in _checked:
        with without_garbage_collection():
            found = check_coco(data, str(path), use=use, iou_types=iou_types)
        if stamp is None:
            return found
        _checked[key] = found
    return _checked[key]


def read_categories(path: str | Path, *, progress: Callable[..., Any] | None = None) -> list[dict]:
    """Read and check the categories of a COCO annotation file, and nothing else of it.

    Args:
        path: the file.
        progress: as for :func:`read_coco`.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when its categories are not what they should be.
    """
    path = Path(path)
    data = _parse(path, _stamp(path), progress)
    if not isinstance(data, dict) or not isinstance(data.get("categories"), list):
        raise ValueError(
            f"Expected COCO annotations with the list 'categories' in {path}, but got "
            f"{describe(data)}; pass the annotation file."
        )
    categories = [dict(c) if isinstance(c, dict) else c for c in data["categories"]]
    check_categories(categories, str(path))
    return categories


def forget_files() -> None:
    """Free the memory of the files that have been read."""
    _parsed.clear()
    _checked.clear()


def write_coco(
    path: str | Path,
    images: Sequence[dict],
    annotations: Sequence[dict],
    categories: Sequence[dict],
    **more: Any,
) -> None:
    """Write a COCO annotation file, whole or not at all.

    Args:
        path: the file.
        images: as for :func:`make_coco`.
        annotations: likewise.
        categories: likewise.
        more: other entries of the file, such as ``info``.

    Raises:
        ValueError: an entry is wrong; nothing is written.
    """
    write_json(path, make_coco(path, images, annotations, categories, **more), indent=None)


def make_coco(
    path: str | Path,
    images: Sequence[dict],
    annotations: Sequence[dict],
    categories: Sequence[dict],
    **more: Any,
) -> dict:
    """Make and check the content of a COCO annotation file.

    Args:
        path: where it will be, for messages.
        images: with ``id``, ``file_name``, ``width`` and ``height``.
        annotations: with ``image_id``, ``category_id``, ``bbox``, and perhaps ``segmentation``;
            ``id``, ``area`` and ``iscrowd`` are added where they are missing.
        categories: with ``id`` and ``name``.
        more: other entries of the file, such as ``info``.

    Raises:
        ValueError: an entry is wrong.
    """
    defaults = [
        {"id": number, "iscrowd": 0, "area": entry["bbox"][2] * entry["bbox"][3]}
        for number, entry in enumerate(annotations, start=1)
    ]
    data = {
        **more,
        "images": list(images),
        "annotations": [{**default, **a} for default, a in zip(defaults, annotations, strict=True)],
        "categories": list(categories),
    }
    check_coco(data, str(path), use="evaluation")
    return data


def _stamp(path: Path) -> tuple[Path, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return path.resolve(), status.st_mtime_ns, status.st_size


def _parse(
    path: Path, stamp: tuple[Path, int, int] | None, progress: Callable[..., Any] | None
) -> Any:
    if stamp not in _parsed:
        data = load_json(path, progress=progress)
        if stamp is None:
            return data
        _parsed[stamp] = data
    return _parsed[stamp]
