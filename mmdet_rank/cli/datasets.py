"""Checks of the user's data, before a run and, where something failed, afterwards for the reason.

Nothing is read twice when all is well: the built data sets know what they found. Only after a
failure are the files opened again, to tell which of them is to blame.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.logging import print_log

from mmdet_rank.cli.errors import UserError

NUM_NAMES = 10
#: What MMDetection and pycocotools read of each entry of an annotation file.
NEEDED = {
    "images": ("id", "file_name", "width", "height"),
    "annotations": ("id", "image_id", "category_id", "bbox", "area"),
    "categories": ("id", "name"),
}


def diagnose(cfg: Config, splits: list[str]) -> None:
    """Find out what is wrong with the data that a config names; returns when nothing is found.

    Args:
        cfg: The config.
        splits: Some of "train", "val", "test".

    Raises:
        UserError: A file or folder is missing, an annotation file is no JSON or not COCO's, or
            its category names are not those of the data set.
    """
    for split in splits:
        for where, dataset in dataset_configs(cfg, split):
            _diagnose_dataset(where, dataset)
        for where, evaluator in _evaluator_configs(cfg, split):
            if evaluator.get("ann_file"):
                _read_annotations(f"{where}.ann_file", Path(evaluator["ann_file"]))


def check_built(dataset: Any, split: str) -> None:
    """Check a built data set.

    Args:
        dataset: MMDetection's data set, or a wrapper around one or several.
        split: What to call it in messages.

    Raises:
        UserError: It is empty, class names do not match the annotation file, or its first image
            is missing.
    """
    for leaf in _leaves(dataset):
        classes = (getattr(leaf, "metainfo", None) or {}).get("classes")
        found = getattr(leaf, "cat_ids", None)
        if classes is not None and found is not None and len(found) != len(classes):
            where = f"{split}_dataloader.dataset"
            names = _category_names(_read_annotations(f"{where}.ann_file", Path(leaf.ann_file)))
            _check_names(where, leaf.ann_file, list(classes), names)
        _check_first_image(leaf, split)


def warn_of_other_truth(cfg: Config, split: str) -> None:
    """Warn when a split is evaluated by another annotation file than that of its data.

    Both usually number their images from 1, so that the figures would be wrong without an error.
    """
    paths = [
        Path(dataset.get("data_root") or "", dataset["ann_file"])
        for _, dataset in dataset_configs(cfg, split)
    ]
    for where, evaluator in _evaluator_configs(cfg, split):
        path = evaluator.get("ann_file")
        if path and paths and Path(path).resolve() not in [each.resolve() for each in paths]:
            print_log(
                f"{where}.ann_file is {path}, but the images are those of "
                f"{', '.join(map(str, paths))}: the figures are wrong unless both files have the "
                "same images and objects.",
                logger="current",
                level=logging.WARNING,
            )


def dataset_configs(cfg: Config, split: str) -> Iterator[tuple[str, dict]]:
    """Every data set of a split that reads files, with its place in the config."""
    loader = cfg.get(f"{split}_dataloader")
    if not loader:
        return
    pending = [(f"{split}_dataloader.dataset", loader.get("dataset"))]
    while pending:
        where, node = pending.pop()
        if isinstance(node, (list, tuple)):
            pending += [(f"{where}[{index}]", entry) for index, entry in enumerate(node)]
        elif isinstance(node, dict):
            pending += [
                (f"{where}.{key}", node[key]) for key in ("dataset", "datasets") if key in node
            ]
            if "ann_file" in node:
                yield where, node


def _evaluator_configs(cfg: Config, split: str) -> Iterator[tuple[str, dict]]:
    node = cfg.get(f"{split}_evaluator")
    entries = node if isinstance(node, (list, tuple)) else [node]
    for entry in entries:
        if isinstance(entry, dict):
            yield f"{split}_evaluator", entry


def _diagnose_dataset(where: str, dataset: dict) -> None:
    root = dataset.get("data_root") or ""
    ann_file = Path(root, dataset["ann_file"])
    content = _read_annotations(f"{where}.ann_file", ann_file)
    for key, prefix in (dataset.get("data_prefix") or {}).items():
        folder = Path(root, prefix)
        if not folder.is_dir():
            raise UserError(
                f"Expected a folder of images for {where}.data_prefix.{key}, but {folder} does "
                f"not exist (looked from {Path.cwd()}); set data_root or data_prefix"
            )
    if content is None:
        return
    classes = (dataset.get("metainfo") or {}).get("classes")
    if classes is None:
        classes = (getattr(DATASETS.get(dataset["type"]), "METAINFO", None) or {}).get("classes")
    if isinstance(classes, (list, tuple)):
        _check_names(where, str(ann_file), list(classes), _category_names(content))
    _check_entries(where, str(ann_file), content)
    only_objects = (dataset.get("filter_cfg") or {}).get("filter_empty_gt", False)
    if not content["images"] or (only_objects and not content["annotations"]):
        raise UserError(_no_image_left(where, str(ann_file)))


def _read_annotations(where: str, path: Path) -> dict | None:
    """Read a COCO annotation file; None for a file of another kind.

    Raises:
        UserError: It is missing or broken.
    """
    if not path.is_file():
        raise UserError(
            f"Expected an annotation file for {where}, but {path} does not exist "
            f"(looked from {Path.cwd()}); set data_root or ann_file"
        )
    if path.suffix != ".json":
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(
            f"Expected JSON in {path} ({where}), but it is broken: {error}; "
            f"the file has {path.stat().st_size} bytes: copy or write it again"
        ) from error
    expected = ("images", "annotations", "categories")
    lacking = [key for key in expected if not isinstance(content, dict) or key not in content]
    if lacking:
        raise UserError(
            f"Expected COCO annotations with {', '.join(expected)} in {path} ({where}), but "
            f"{', '.join(lacking)} is missing; convert the annotations to COCO's format"
        )
    return content


def _check_entries(where: str, ann_file: str, content: dict) -> None:
    """Refuse entries that lack what MMDetection reads of them."""
    for kind, needed in NEEDED.items():
        for index, entry in enumerate(content[kind]):
            lacking = [key for key in needed if not isinstance(entry, dict) or key not in entry]
            if lacking:
                advice = {"area": "; area is width x height of the box, or that of the mask"}
                raise UserError(
                    f"Expected {', '.join(needed)} in each of the {kind} of {ann_file} ({where}), "
                    f"but entry {index} lacks {', '.join(lacking)}; add that to the file"
                    + "".join(advice.get(key, "") for key in lacking)
                )


def _category_names(content: dict | None) -> list[str]:
    return [] if content is None else [entry.get("name", "") for entry in content["categories"]]


def _check_names(where: str, ann_file: str, classes: list[str], names: list[str]) -> None:
    """Refuse class names that the annotation file does not have.

    More categories in the file than classes are no mistake: that trains on some of them.
    """
    unknown = [name for name in classes if name not in names]
    if unknown:
        raise UserError(
            f"Expected every class of {where} among the categories of {ann_file}, but "
            f"{len(unknown)} of {len(classes)} are not: {shorten(unknown)}. The file has "
            f"{shorten(names)}. Do: set metainfo=dict(classes=(...)) of the data set to the "
            "names in the file, for train, val and test, and num_classes of the heads to match"
        )


def _check_first_image(dataset: Any, split: str) -> None:
    if len(dataset) == 0:
        raise UserError(
            _no_image_left(f"{split}_dataloader.dataset", getattr(dataset, "ann_file", "its files"))
        )
    info = dataset.get_data_info(0) if hasattr(dataset, "get_data_info") else {}
    path = info.get("img_path")
    if isinstance(path, str) and "://" not in path and not Path(path).is_file():
        raise UserError(
            f"Expected the images of the {split} data under data_root and data_prefix, but "
            f"{path} does not exist (looked from {Path.cwd()}); set data_root or data_prefix"
        )


def _no_image_left(where: str, ann_file: str) -> str:
    return (
        f"Expected images for {where}, but none is left of {ann_file}; check filter_cfg "
        "(filter_empty_gt drops images without objects) and the class names"
    )


def _leaves(dataset: Any) -> Iterator[Any]:
    """The data sets inside wrappers."""
    if hasattr(dataset, "datasets"):
        for inner in dataset.datasets:
            yield from _leaves(inner)
    elif hasattr(dataset, "dataset"):
        yield from _leaves(dataset.dataset)
    else:
        yield dataset


def shorten(names: list[str]) -> str:
    """The first names of a list, and how many more there are."""
    more = f", and {len(names) - NUM_NAMES} more" if len(names) > NUM_NAMES else ""
    return ", ".join(names[:NUM_NAMES]) + more
