"""Classes in the order of the annotation files, by which labels are given."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import mmdet_rank._stack  # noqa: F401

from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.logging import print_log

from mmdet_rank.annotations import read_categories
from mmdet_rank.cli.datasets import annotation_file, dataset_configs, reading_bar, shorten
from mmdet_rank.cli.errors import UserError

#: What a loss may have one number of for each class.
PER_CLASS = ("alpha", "class_counts", "class_weight")


def order_classes(cfg: Config) -> None:
    """Put the classes of data sets in the order of the categories in their annotation files.

    MMDetection's COCO data sets give label i to the i-th category of the file, whatever the order
    of ``classes``, by which pictures and thresholds are named. Numbers that the model's losses have
    for each class are written in the order of the classes too, and go with those of the training
    data, so that the config as it is saved belongs together.

    Args:
        cfg: The config; ``classes`` and ``palette`` of ``metainfo`` are reordered, and lists
            `PER_CLASS` of the model, with a warning.

    Raises:
        UserError: Annotation files have their categories in different orders, so that a label would
            mean one class here and another there. Or training data sets name their classes in
            different orders, so that it is not known which one such lists are in.
    """
    orders: dict[Path, list[str]] = {}
    seen: dict[Path, list[str]] = {}
    # Before any is changed, for data sets may have one metainfo between them.
    written = {where: _classes(dataset) for where, dataset in dataset_configs(cfg, "train")}
    weights_in_order = False
    for split in ("train", "val", "test"):
        for where, dataset in dataset_configs(cfg, split):
            if not (classes := _classes(dataset)):
                continue
            dataset["metainfo"]["classes"] = classes
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
            if list(classes) == names:
                continue
            text = (
                f"The classes of {where} are put in the order of the categories of {path}, which "
                f"gives the labels: {shorten(names)}."
            )
            if split == "train" and not weights_in_order:
                text += _reorder_weights(cfg, written, list(classes), names)
                weights_in_order = True
            _reorder(dataset["metainfo"], names)
            print_log(text, logger="current", level=logging.WARNING)


def _classes(dataset: dict) -> tuple[str, ...]:
    """Classes that a data set's config names and whose labels an annotation file gives, or none."""
    classes = (dataset.get("metainfo") or {}).get("classes")
    if not (isinstance(classes, (list, tuple)) and _labels_by_file(dataset)):
        return ()
    # Names that are numbers in a file are read as texts.
    return tuple(map(str, classes))


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


def _reorder(metainfo: dict, names: list[str]) -> None:
    classes = list(metainfo["classes"])
    palette = metainfo.get("palette")
    if isinstance(palette, (list, tuple)) and len(palette) == len(classes):
        metainfo["palette"] = [palette[classes.index(name)] for name in names]
    metainfo["classes"] = tuple(names)


def _reorder_weights(
    cfg: Config, written: dict[str, tuple[str, ...]], classes: list[str], names: list[str]
) -> str:
    """Put the model's lists of one number per class in another order.

    Args:
        cfg: The config.
        written: The classes of every training data set, as they are written.
        classes: The order that the lists are in.
        names: The order that they are put in.

    Returns:
        A sentence that names them, for the warning.

    Raises:
        UserError: There are such lists, and training data sets name their classes in several
            orders.
    """
    found = list(_lists_per_class(cfg.get("model"), "model", len(names)))
    if not found:
        return ""
    for where, other in written.items():
        if other and list(other) != classes:
            first = next(place for place, order in written.items() if list(order) == classes)
            raise UserError(
                "Expected all training data to name their classes in one order beside "
                f"{found[0][0]}, which has a number for each, but {first} has {shorten(classes)}, "
                f"and {where} has {shorten(list(other))}; write metainfo.classes of each, and the "
                f"numbers, in the order of the annotation file: {shorten(names)}"
            )
    # Background, if there is a number for it, is the last class whatever the others are.
    order = [*map(classes.index, names), len(names)]
    lists = [[node[key][i] for i in order[: len(node[key])]] for _, node, key in found]
    # None before all are made, for heads may have one loss between them.
    for (_, node, key), numbers in zip(found, lists, strict=True):
        node[key] = numbers
    told = "; ".join(f"{where} is {shorten([*map(str, node[key])])}" for where, node, key in found)
    return f" So are the numbers that the model's config has for each class: {told}."


def _lists_per_class(
    node: object, where: str, num_classes: int, enclosing: int | None = None
) -> Iterator[tuple[str, dict, str]]:
    """Lists `PER_CLASS` of a model's config: place, and the dict and key that have it.

    Args:
        node: Part of the config.
        where: Its place.
        num_classes: Number of classes of the data.
        enclosing: ``num_classes`` of the head that the part is in, if it has any.
    """
    if isinstance(node, (list, tuple)):
        for index, entry in enumerate(node):
            yield from _lists_per_class(entry, f"{where}[{index}]", num_classes, enclosing)
    if not isinstance(node, dict):
        return
    enclosing = node.get("num_classes", enclosing)
    for key, value in node.items():
        if key == "rpn_head":
            continue  # Its classes are object and background, which can be as many.
        if key in PER_CLASS and enclosing in (None, num_classes) and _numbers(value, num_classes):
            yield f"{where}.{key}", node, key
        else:
            yield from _lists_per_class(value, f"{where}.{key}", num_classes, enclosing)


def _numbers(value: object, num_classes: int) -> bool:
    """Whether something is a list of one number per class, and maybe one of background."""
    return (
        isinstance(value, (list, tuple))
        and len(value) in (num_classes, num_classes + 1)
        and all(isinstance(number, (int, float)) for number in value)
    )
