"""Checks of the user's data before a run and, where something failed, for the reason."""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mmdet_rank._stack  # noqa: F401

import cv2
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.logging import print_log
from tqdm import tqdm

from mmdet_rank.annotations import CocoAnnotations, check_coco, read_coco
from mmdet_rank.annotations.image_files import check_image_files
from mmdet_rank.cli.errors import UserError, refused_input
from mmdet_rank.cli.evaluators import check_truth_of_each_set, evaluator_configs
from mmdet_rank.datasets.checked_data import coco_type, dataset_use, is_remote, leaves
from mmdet_rank.files import load_json

NUM_NAMES = 10
# Reading shorter than this many seconds needs no progress bar.
PATIENCE = 5


def check_files(cfg: Config, splits: list[str]) -> None:
    """Check the annotation files and pictures that a config names, before they are used.

    What is left out of a file, and what was read in another way than it is written, is logged once
    for each file.

    Args:
        cfg: The config.
        splits: Some of "train", "val", "test".

    Raises:
        UserError: A file or folder is missing, or not what it should be; the message names file,
            entry and field.
    """
    told: set[str] = set()
    for split in splits:
        for where, dataset in dataset_configs(cfg, split):
            _check_paths(where, dataset)
            if coco_type(dataset) is not None:
                _tell(_check_coco_dataset(where, dataset), told)
        for where, evaluator in evaluator_configs(cfg, split):
            _tell(_check_evaluator(where, evaluator), told)
        check_truth_of_each_set(cfg, split, _annotation_files(cfg, split))


def diagnose(cfg: Config, splits: list[str]) -> None:
    """Find out what is wrong with data that could not be loaded; return when nothing is found.

    Args:
        cfg: The config.
        splits: Some of "train", "val", "test".

    Raises:
        UserError: An annotation file is not JSON or not COCO's.
    """
    for split in splits:
        for where, dataset in dataset_configs(cfg, split):
            path = annotation_file(dataset)
            if is_remote(dataset) or coco_type(dataset) is not None:
                continue
            if path.suffix == ".json":
                with refused_input(f"{where}.ann_file"):
                    check_coco(load_json(path), str(path))


def check_built(dataset: Any, split: str) -> None:
    """Check a built data set.

    Args:
        dataset: MMDetection's data set, or a wrapper around one or several.
        split: What to call it in messages.

    Raises:
        UserError: It is empty, or its first image is missing.
    """
    for leaf in leaves(dataset):
        _check_first_image(leaf, split)


def warn(text: str) -> None:
    """Log a warning."""
    print_log(text, logger="current", level=logging.WARNING)


def dataset_configs(cfg: Config, split: str) -> Iterator[tuple[str, dict]]:
    """Every data set of a split that reads files, with its place in the config."""
    loader = cfg.get(f"{split}_dataloader")
    if not loader:
        return
    pending = [(f"{split}_dataloader.dataset", loader.get("dataset"))]
    while pending:
        where, node = pending.pop(0)
        if isinstance(node, (list, tuple)):
            pending += [(f"{where}[{index}]", entry) for index, entry in enumerate(node)]
        elif isinstance(node, dict):
            pending += [
                (f"{where}.{key}", node[key]) for key in ("dataset", "datasets") if key in node
            ]
            if "ann_file" in node:
                yield where, node


def annotation_file(dataset: dict) -> Path:
    """Path of the annotation file of a data set's config."""
    return Path(dataset.get("data_root") or "", dataset["ann_file"])


def shorten(names: list[str]) -> str:
    """The first names of a list, and how many more there are."""
    more = f", and {len(names) - NUM_NAMES} more" if len(names) > NUM_NAMES else ""
    return ", ".join(names[:NUM_NAMES]) + more


def read_annotations(path: Path, use: str, iou_types: tuple[str, ...]) -> CocoAnnotations:
    """Read an annotation file, with a progress bar where it takes long."""
    return read_coco(path, use=use, iou_types=iou_types, progress=reading_bar(path))


def reading_bar(path: Path) -> Callable | None:
    """Return what makes a progress bar of reading a file; None beside the main process."""
    if not is_main_process():
        return None
    return functools.partial(
        tqdm, desc=f"reading {path.name}", delay=PATIENCE, file=sys.stderr, leave=False
    )


def _annotation_files(cfg: Config, split: str) -> list[Path]:
    return [annotation_file(dataset) for _, dataset in dataset_configs(cfg, split)]


def _tell(found: CocoAnnotations | None, told: set[str]) -> None:
    """Log what is to be said of a file, once."""
    if found is not None and (text := found.message()) and text not in told:
        told.add(text)
        warn(text)


def _check_paths(where: str, dataset: dict) -> None:
    root, path = dataset.get("data_root") or "", annotation_file(dataset)
    if is_remote(dataset) or not dataset["ann_file"]:
        return
    if not path.exists():
        raise UserError(
            f"Expected an annotation file for {where}.ann_file, but {path} does not exist "
            f"(looked from {Path.cwd()}); set data_root or ann_file"
        )
    for key, prefix in (dataset.get("data_prefix") or {}).items():
        folder = Path(root, prefix or "")
        if "://" not in str(prefix) and not folder.is_dir():
            raise UserError(
                f"Expected a folder of images for {where}.data_prefix.{key}, but {folder} does "
                f"not exist (looked from {Path.cwd()}); set data_root or data_prefix"
            )


def _check_coco_dataset(where: str, dataset: dict) -> CocoAnnotations:
    path = annotation_file(dataset)
    with refused_input(f"{where}.ann_file"):
        found = read_annotations(path, *dataset_use(dataset))
    names = [category["name"] for category in found.dataset["categories"]]
    classes = _classes(where, dataset)
    if classes is not None:
        _check_names(where, str(path), classes, names)
    if not dataset.get("test_mode"):
        _check_left(where, dataset, found, names if classes is None else classes)
    if _loads_local_files(dataset):
        _check_pictures(where, dataset, found)
    return found


def _classes(where: str, dataset: dict) -> list[str] | None:
    """The class names that a data set's config asks for.

    Raises:
        UserError: They are one text that is not a file.
    """
    classes = (dataset.get("metainfo") or {}).get("classes")
    if classes is None:
        kind = dataset.get("type")
        kind = DATASETS.get(kind) if isinstance(kind, str) else kind
        classes = (getattr(kind, "METAINFO", None) or {}).get("classes")
    if isinstance(classes, str):
        # MMEngine takes a text for the path of a file that has a name in each line.
        if not Path(classes).is_file():
            raise UserError(
                f"Expected several names as metainfo.classes of {where}, or a file of names, but "
                f"got the text {classes!r}; a tuple of one name needs a comma: ({classes!r},)"
            )
        return None
    return None if classes is None else [str(name) for name in classes]


def _check_names(where: str, ann_file: str, classes: list[str], names: list[str]) -> None:
    """Refuse class names that the annotation file does not have.

    More categories in the file than classes are not a mistake: that trains on some of them.
    """
    doubled = sorted({name for name in classes if classes.count(name) > 1})
    if doubled:
        raise UserError(
            f"Expected distinct metainfo.classes of {where}, but got {shorten(doubled)} twice; "
            "remove one"
        )
    unknown = [name for name in classes if name not in names]
    if unknown:
        raise UserError(
            f"Expected every class of {where} among the categories of {ann_file}, but "
            f"{len(unknown)} of {len(classes)} are not: {shorten(unknown)}. The file has "
            f"{shorten(names)}. Do: set metainfo=dict(classes=(...)) of the data set to the "
            "names in the file, for train, val and test, and num_classes of the heads to match"
        )


def _check_left(where: str, dataset: dict, found: CocoAnnotations, classes: list[str]) -> None:
    """Refuse a training set that has nothing to train on, and mention images left out."""
    images, objects = found.dataset["images"], found.dataset["annotations"]
    ids = {c["id"] for c in found.dataset["categories"] if c["name"] in classes}
    used = sum(entry["category_id"] in ids and not entry["iscrowd"] for entry in objects)
    filters = dataset.get("filter_cfg") or {}
    if not images or (filters.get("filter_empty_gt", False) and not objects):
        raise UserError(_no_image_left(where, str(annotation_file(dataset))))
    if objects and not used:
        raise UserError(
            f"Expected objects of the classes of {where} in {found.source}, but all of its "
            f"{len(objects)} are of other categories or crowds (iscrowd 1); set metainfo.classes "
            "to the categories that have objects"
        )
    least = filters.get("min_size", 0)
    small = sum(min(image["width"], image["height"]) < least for image in images)
    if small:
        warn(
            f"{found.source}: {small} of {len(images)} images are left out, for a side is stated "
            f"to be shorter than filter_cfg.min_size = {least} of {where}."
        )


def _loads_local_files(dataset: dict) -> bool:
    steps = dataset.get("pipeline") or []
    loading = [s for s in steps if isinstance(s, dict) and s.get("type") == "LoadImageFromFile"]
    return bool(loading) and all(
        (step.get("backend_args") or {}).get("backend", "local") == "local" for step in loading
    )


def _check_pictures(where: str, dataset: dict, found: CocoAnnotations) -> None:
    """Refuse pictures that are missing or broken, and warn of those of another size."""
    prefix = (dataset.get("data_prefix") or {}).get("img", "")
    if "://" in str(prefix):
        return
    images = found.dataset["images"]
    files = check_image_files(images, Path(dataset.get("data_root") or "", prefix))
    if files.missing:
        index, path = files.missing[0]
        raise UserError(
            f"Expected the pictures of {found.source} under data_root and data_prefix of {where}, "
            f"but {len(files.missing)} of {len(images)} are missing, first that of image {index}: "
            f"{path} does not exist (looked from {Path.cwd()}); set data_root or data_prefix, or "
            "remove the entries"
        )
    for index, path, why in files.unreadable:
        # Pillow does not know all that OpenCV reads.
        if cv2.imread(str(path), cv2.IMREAD_UNCHANGED) is None:
            raise UserError(
                f"Expected a picture in {path}, the file_name of image {index} of {found.source}, "
                f"but it cannot be read ({why}; {path.stat().st_size} bytes); copy it again, or "
                "remove the entry"
            )
    if files.num_renamed:
        found.mended["Read a file_name with backslashes as one with slashes"] = files.num_renamed
    if files.other_size:
        index, stated, real = files.other_size[0]
        hint = (
            f"{len(files.other_size)} of {files.num_checked} pictures that were looked at have "
            f"another width and height than stated, such as image {index}: {real[0]} x {real[1]}, "
            f"not {stated[0]} x {stated[1]}; objects beyond the stated size are left out, and "
            "boxes may be of a picture of another size."
        )
        if hint not in found.hints:
            found.hints.append(hint)


def _check_evaluator(where: str, evaluator: dict) -> CocoAnnotations | None:
    """Read the annotation file by which a metric of COCO's kind evaluates."""
    path = evaluator.get("ann_file")
    if not path or "://" in str(path) or Path(path).suffix != ".json":
        return None
    if not Path(path).is_file():
        raise UserError(
            f"Expected an annotation file for {where}.ann_file, but {path} does not exist "
            f"(looked from {Path.cwd()}); set ann_file"
        )
    if not str(evaluator.get("type")).startswith(("Coco", "LVIS")) or "Panoptic" in str(
        evaluator.get("type")
    ):
        return None
    metrics = evaluator.get("metric", "bbox")
    masks = "segm" in ([metrics] if isinstance(metrics, str) else metrics)
    use = "listing" if evaluator.get("format_only") else "evaluation"
    with refused_input(f"{where}.ann_file"):
        return read_annotations(Path(path), use, ("bbox", "segm") if masks else ("bbox",))


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
