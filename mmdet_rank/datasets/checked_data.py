"""Data sets that are built from annotation files as they have been read and checked.

MMDetection's COCO data sets parse their file by ``COCOAPI``, an attribute of the class. Each data
set is given one of its own here, which takes what ``mmdet_rank.annotations`` has read, so that
training has the objects that the check has counted, and a file is parsed once. Nothing of
MMDetection is changed, nor is the config.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import mmdet_rank._stack  # noqa: F401

from mmdet.datasets import CocoDataset
from mmdet.datasets.api_wrappers import COCO
from mmdet.registry import DATASETS
from mmengine.dataset import Compose

from mmdet_rank.annotations import CocoAnnotations, read_coco

__all__ = [
    "CheckedCOCO",
    "EntryError",
    "coco_type",
    "dataset_use",
    "is_remote",
    "leaves",
    "with_checked_files",
]


class EntryError(ValueError):
    """An entry of the data that cannot be used, found while the data is loaded.

    Args:
        message: What to say, or the text of a traceback that ends in it, as a worker process of
            PyTorch's data loader passes it on.
    """

    def __init__(self, message: str) -> None:
        if message.startswith("Caught "):
            message = message.rpartition(f"{EntryError.__name__}: ")[2].strip()
        super().__init__(message)


class CheckedCOCO(COCO):
    """pycocotools' index over an annotation file that has been checked.

    Args:
        annotation_file: Path of the file.
        use: As for `mmdet_rank.annotations.read_coco`.
        iou_types: Likewise.
    """

    def __init__(
        self,
        annotation_file: str | None = None,
        use: str = "evaluation",
        iou_types: Sequence[str] = ("bbox",),
    ) -> None:
        super().__init__()
        if annotation_file is None:
            return
        self.take(read_coco(annotation_file, use=use, iou_types=iou_types))

    def take(self, found: CocoAnnotations) -> None:
        """Build the index over annotations that have been read."""
        self.dataset = found.dataset
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints "index created!"
            self.createIndex()
        self.img_ann_map = self.imgToAnns
        self.cat_img_map = self.catToImgs


class ExplainedPipeline(Compose):
    """The steps by which a picture is loaded; an error tells which picture it was."""

    def __call__(self, data: dict) -> dict | None:
        """Apply the steps.

        Raises:
            EntryError: One of them failed.
        """
        try:
            return super().__call__(data)
        except Exception as error:
            where = f"image {data['img_id']!r}, " if "img_id" in data else ""
            name = data.get("img_path", "a picture without img_path")
            raise EntryError(
                f"Expected a picture that can be loaded, but {name} ({where}entry "
                f"{data.get('sample_idx')} of the data) failed in the pipeline with "
                f"{type(error).__name__}: {error}; mend or remove the picture or its entry in the "
                "annotation file"
            ) from error


def with_checked_files(node: Any) -> Any:
    """Return the config of a data loader whose COCO data sets are built from checked files.

    Args:
        node: A config of a data loader or data set; not changed.
    """
    if isinstance(node, (list, tuple)):
        return type(node)(with_checked_files(entry) for entry in node)
    if not isinstance(node, dict):
        return node
    node = copy.copy(node)
    for key in ("dataset", "datasets"):
        if key in node:
            node[key] = with_checked_files(node[key])
    kind = coco_type(node)
    if kind is not None:
        use, iou_types = dataset_use(node)
        node["type"] = functools.partial(_build, kind, use, iou_types)
    return node


def coco_type(dataset: dict) -> Any:
    """Return the class of a config's data set where it reads a local COCO file by ``COCOAPI``."""
    kind: Any = dataset.get("type")
    kind = DATASETS.get(kind) if isinstance(kind, str) else kind
    if not (isinstance(kind, type) and issubclass(kind, CocoDataset)):
        return None
    if getattr(kind, "COCOAPI", None) is not COCO:
        return None
    path = Path(dataset.get("data_root") or "", dataset.get("ann_file") or "")
    return None if is_remote(dataset) or path.suffix != ".json" else kind


def is_remote(dataset: dict) -> bool:
    """Tell whether the annotation file of a data set's config lies on no disk of this machine."""
    # Not asked of a Path, which makes one slash of two.
    return any("://" in str(dataset.get(key) or "") for key in ("data_root", "ann_file"))


def dataset_use(dataset: dict) -> tuple[str, tuple[str, ...]]:
    """Return what the annotation file of a data set's config is read for.

    Returns:
        ``use`` and ``iou_types`` of `mmdet_rank.annotations.read_coco`.
    """
    masks = any(_values(dataset.get("pipeline"), "with_mask"))
    use = "listing" if dataset.get("test_mode") else "training"
    return use, ("bbox", "segm") if masks else ("bbox",)


def leaves(dataset: Any) -> Iterator[Any]:
    """Yield the data sets inside of wrappers around one or several."""
    if hasattr(dataset, "datasets"):
        for inner in dataset.datasets:
            yield from leaves(inner)
    elif hasattr(dataset, "dataset"):
        yield from leaves(dataset.dataset)
    else:
        yield dataset


def _values(node: Any, key: str) -> list:
    if isinstance(node, dict):
        own = [node[key]] if key in node else []
        return own + [value for entry in node.values() for value in _values(entry, key)]
    if isinstance(node, (list, tuple)):
        return [v for entry in node for v in _values(entry, key)]
    return []


def _build(kind: Any, use: str, iou_types: tuple[str, ...], **options: Any) -> Any:
    dataset = kind.__new__(kind)
    dataset.COCOAPI = functools.partial(CheckedCOCO, use=use, iou_types=iou_types)
    dataset.__init__(**options)
    pipeline = dataset.pipeline
    if type(pipeline) is Compose:
        dataset.pipeline = ExplainedPipeline(pipeline.transforms)
    return dataset
