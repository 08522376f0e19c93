"""Classes in the order of the annotation files, by which labels are given."""

from __future__ import annotations

import logging
from pathlib import Path

import mmdet_rank._stack  # noqa: F401

from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.logging import print_log

from mmdet_rank.annotations import read_categories
from mmdet_rank.cli.datasets import annotation_file, dataset_configs, reading_bar, shorten
from mmdet_rank.cli.errors import UserError


def order_classes(cfg: Config) -> None:
    """Put the classes of data sets in the order of the categories in their annotation files.

    MMDetection's COCO data sets give label i to the i-th category of the file, whatever the order
    of ``classes``, by which pictures and thresholds are named.

    Args:
        cfg: The config; ``classes`` and ``palette`` of ``metainfo`` are reordered, with a warning.

    Raises:
        UserError: Annotation files have their categories in different orders, so that a label would
            mean one class here and another there.
    """
    orders: dict[Path, list[str]] = {}
    seen: dict[Path, list[str]] = {}
    for split in ("train", "val", "test"):
        for where, dataset in dataset_configs(cfg, split):
            classes = (dataset.get("metainfo") or {}).get("classes")
            if not (isinstance(classes, (list, tuple)) and _labels_by_file(dataset)):
                continue
            # Names that are numbers in a file are read as texts.
            classes = dataset["metainfo"]["classes"] = tuple(map(str, classes))
            path = annotation_file(dataset)
            if path not in orders:
                orders[path] = _category_names(path)
            names = [name for name in orders[path] if name in classes]
            if sorted(names) != sorted(classes):
                continue  # What is wrong with the names is told when the data set is built.
            for other, order in seen.items():
                if sorted(order) == sorted(names) and order != names:
                    raise UserError(
                        "Expected the same order of categories in all annotation files, for their "
                        f"order gives the labels, but {other} has {shorten(order)}, and {path} has "
                        f"{shorten(names)}; write 'categories' in the same order in both"
                    )
            seen[path] = names
            _reorder(dataset["metainfo"], names, where, path)


def _labels_by_file(dataset: dict) -> bool:
    kind = dataset.get("type")
    kind = DATASETS.get(kind) if isinstance(kind, str) else kind
    return isinstance(kind, type) and issubclass(kind, CocoDataset)


def _category_names(path: Path) -> list[str]:
    """Names in the order of an annotation file; none where it cannot be read.

    What is wrong with the file is told when the data set is built.
    """
    try:
        categories = read_categories(path, progress=reading_bar(path))
    except (OSError, ValueError):
        return []
    return [category["name"] for category in categories]


def _reorder(metainfo: dict, names: list[str], where: str, path: Path) -> None:
    classes = list(metainfo["classes"])
    if classes == names:
        return
    palette = metainfo.get("palette")
    if isinstance(palette, (list, tuple)) and len(palette) == len(classes):
        metainfo["palette"] = [palette[classes.index(name)] for name in names]
    metainfo["classes"] = tuple(names)
    print_log(
        f"The classes of {where} are put in the order of the categories of {path}, which gives the "
        f"labels: {shorten(names)}.",
        logger="current",
        level=logging.WARNING,
    )
