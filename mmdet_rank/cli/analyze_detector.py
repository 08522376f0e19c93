"""The detector that ``mmdet-rank analyze`` looks at."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mmdet_rank.register  # noqa: F401

from mmdet.registry import DATASETS, MODELS
from mmengine.config import Config, DictAction
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from mmengine.runner import set_random_seed
from torch import nn

from mmdet_rank.annotations import read_categories
from mmdet_rank.cli.checkpoints import check_fits, read_checkpoint
from mmdet_rank.cli.datasets import annotation_file, dataset_configs, reading_bar, shorten
from mmdet_rank.cli.errors import UserError, explained
from mmdet_rank.imbalance import Objects

__all__ = ["load_detector", "training_samples"]


def load_detector(args: argparse.Namespace, objects: Objects) -> tuple[Config, nn.Module, Objects]:
    """Build a config's detector, and load the checkpoint if there is one.

    Args:
        args: with ``config``, ``checkpoint``, ``cfg_options`` and ``trust_checkpoint``.
        objects: the data set, whose classes a checkpoint must have, in whatever order.

    Returns:
        The config, the detector, and the objects with the labels of the checkpoint.

    Raises:
        UserError: the config or the checkpoint cannot be read, or has other classes.
    """
    path = Path(args.config)
    if not path.is_file() and "::" not in str(args.config):
        raise UserError(f"Expected a config file, but {path} does not exist.")
    with explained(f"{args.config} cannot be used"):
        config = Config.fromfile(args.config)
        config.merge_from_dict(_options(args.cfg_options))
        init_default_scope(config.get("default_scope", "mmdet"))
        if not args.checkpoint:
            _without_pretrained(config.model)
        # The training pipeline draws by NumPy and Python's random numbers too.
        set_random_seed(0)
        model = MODELS.build(config.model)
    if args.checkpoint:
        checkpoint = read_checkpoint(args.checkpoint, trust=args.trust_checkpoint)
        check_fits(model, checkpoint, args.checkpoint)
        model.load_state_dict(checkpoint.get("state_dict", checkpoint), strict=False)
        _check_classes(model, objects)
        objects = _labelled_as(_class_names(checkpoint, config), objects, args.checkpoint)
    return config, model.eval(), objects


def training_samples(
    config: Config, objects: Objects, pictures: Sequence[Path], places: Sequence[int]
) -> list[dict]:
    """Images as the training pipeline gives them to a detector.

    Args:
        config: of the detector.
        objects: the data set.
        pictures: files of the images.
        places: of the images in ``objects``.

    Raises:
        UserError: a step of the pipeline fails, or needs other images (mosaics), or masks that the
            data does not have.
    """
    pipeline = _pipeline(config.train_dataloader.dataset)
    masks = objects.masks or (None,) * len(objects.label)
    wanted = any(isinstance(step, dict) and step.get("with_mask") for step in pipeline)
    if wanted and not any(masks):
        raise UserError(
            "Expected objects with masks for a detector of masks, but the data has boxes alone; "
            "give data with `segmentation`, or a detector of boxes."
        )
    with explained("The training pipeline of the config cannot be used on this data"):
        steps = Compose(pipeline)
        samples = []
        for file, place in zip(pictures, places, strict=True):
            rows = (objects.image == place).nonzero()[0]
            x, y, width, height = objects.boxes[rows].T
            corners = zip(x, y, x + width, y + height, strict=True)
            # Without a mask MMDetection has an object ignored, where it reads masks.
            instances = [
                {"bbox": list(box), "bbox_label": int(objects.label[row]), "ignore_flag": 0}
                | {"mask": masks[row] or []}
                for box, row in zip(corners, rows, strict=True)
            ]
            size = objects.sizes[place].astype(int)
            data = {"img_path": str(file), "img_id": place, "instances": instances}
            data = steps(data | {"height": int(size[1]), "width": int(size[0])})
            if data is not None:
                samples.append(data)
    if not samples:
        raise UserError(
            "Expected images for training steps, but the training pipeline drops all of them."
        )
    return samples


def _options(texts: Sequence[str]) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    parser.add_argument("--options", nargs="+", action=DictAction, default={})
    try:
        return parser.parse_args(["--options", *texts]).options if texts else {}
    except ValueError as error:
        raise UserError(f"Expected --cfg-options KEY=VALUE ..., but got: {error}") from error


def _pipeline(dataset: Any) -> list:
    """Steps of the innermost data set; mixing several images comes after them and is left out."""
    while "dataset" in dataset:
        dataset = dataset.dataset
    return list(dataset.pipeline)


def _without_pretrained(model: Any) -> None:
    """Take pretrained weights out of a model's config; without a checkpoint none are needed."""
    if isinstance(model, dict):
        initial = model.get("init_cfg")
        if isinstance(initial, dict) and initial.get("type") == "Pretrained":
            model["init_cfg"] = None
        for value in model.values():
            _without_pretrained(value)
    elif isinstance(model, (list, tuple)):
        for value in model:
            _without_pretrained(value)


def _check_classes(model: nn.Module, objects: Objects) -> None:
    number = max(
        (
            module.num_classes
            for name, module in model.named_modules()
            if isinstance(getattr(module, "num_classes", None), int) and "rpn" not in name
        ),
        default=len(objects.classes),
    )
    if number != len(objects.classes):
        raise UserError(
            f"Expected a detector of the {len(objects.classes)} classes of the data, but the "
            f"config has {number}; give the config that the checkpoint was trained with on this "
            "data."
        )


def _class_names(checkpoint: Mapping, config: Config) -> list[str]:
    """Names in the order of a detector's labels, as its checkpoint says or else its config.

    MMDetection's COCO data sets give labels in the order of the annotation file, whatever that of
    ``classes``. Empty where neither says anything.
    """
    meta = checkpoint.get("meta") or {}
    saved = {key.lower(): value for key, value in (meta.get("dataset_meta") or {}).items()}
    # MMDetection 2 had the names beside everything else.
    classes = saved.get("classes") or meta.get("CLASSES")
    if classes:
        return list(map(str, classes))
    _, dataset = next(dataset_configs(config, "train"), ("", {}))
    if not dataset:
        return []
    kind = dataset.get("type")
    kind = DATASETS.get(kind) if isinstance(kind, str) else kind
    default = getattr(kind, "METAINFO", {}).get("classes") or ()
    classes = list(map(str, (dataset.get("metainfo") or {}).get("classes") or default))
    in_file: list[str] = []
    with contextlib.suppress(OSError, ValueError):  # The data of a training may be gone.
        file = annotation_file(dataset)
        in_file = [c["name"] for c in read_categories(file, progress=reading_bar(file))]
    ordered = [name for name in in_file if name in classes]
    return ordered if sorted(ordered) == sorted(classes) else classes or in_file


def _labelled_as(names: Sequence[str], objects: Objects, checkpoint: str) -> Objects:
    """The objects with labels that are places among a detector's names.

    Raises:
        UserError: the names of the data are others.
    """
    if sorted(names) != sorted(objects.classes):
        raise UserError(
            f"Expected the classes of the detector in {checkpoint}, "
            f"{shorten(list(names)) or 'which neither it nor its config names'}, but the data has "
            f"{shorten(list(objects.classes))}; give the data that it was trained on, or name its "
            "classes in train_dataloader.dataset.metainfo of the config."
        )
    return objects.in_order(names)
