"""The work of ``mmdet-rank analyze``."""

from __future__ import annotations

import argparse
import functools
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from mmdet_rank.annotations import read_coco
from mmdet_rank.annotations.conversion import read_data
from mmdet_rank.cli.errors import UserError, explained, refused_input
from mmdet_rank.files import write_json
from mmdet_rank.imbalance import Objects, measure_data
from mmdet_rank.imbalance.paces import measure_paces
from mmdet_rank.visualization.imbalance_page import imbalance_page
from mmdet_rank.visualization.training_curve import read_scalars


def analyze(args: argparse.Namespace) -> None:
    """Measure, and write ``imbalance.json`` and ``imbalance.html``.

    Args:
        args: as ``cli.commands.analyze`` reads them.

    Raises:
        UserError: The data, the config or the checkpoint cannot be used.
    """
    if args.checkpoint and not args.config:
        raise UserError("Expected --config with --checkpoint, but got none; give both.")
    if args.max_images < 1 or args.batch_size < 1:
        raise UserError(
            f"Expected --max-images and --batch-size of at least 1, but got {args.max_images} and "
            f"{args.batch_size}."
        )
    if args.out.exists() and not args.out.is_dir():
        raise UserError(f"Expected a folder as --out, but {args.out} is a file; give another")
    if args.oversample_thr is not None and not 0 <= args.oversample_thr <= 1:
        raise UserError(
            f"Expected a share of the images in [0, 1] as --oversample-thr, but got "
            f"{args.oversample_thr}; leave it out"
        )
    with refused_input():
        objects, files = read_objects(args.data)
        report: dict[str, Any] = {"data": str(args.data)}
        report |= measure_data(
            objects, batch_size=args.batch_size, oversample_thr=args.oversample_thr
        )
    if args.config:
        report["config"] = str(args.config)
        report |= _measure_detector(args, objects, files)
    write_json(args.out / "imbalance.json", report)
    page = imbalance_page(report, args.data.name or str(args.data))
    page.write(args.out / "imbalance.html")
    print(f"Wrote {args.out / 'imbalance.html'} and {args.out / 'imbalance.json'}")


def read_objects(data: Path) -> tuple[Objects, list[str]]:
    """Read the training images of a data set.

    Args:
        data: annotation file of COCO, or folder.

    Returns:
        What is annotated, and the file of each image, relative where an annotation file says so.

    Raises:
        OSError: there is no such file or folder.
        ValueError: it is not a data set, or a faulty one.
    """
    if data.is_dir():
        found = read_data(data)
        for note in found.notes:
            print(f"note: {note}", file=sys.stderr)
        pictures = found.splits.get("train", [])
        if not pictures:
            others = [f"{len(each)} for {split}" for split, each in found.splits.items() if each]
            raise ValueError(
                f"Expected pictures for training in {data}, but got {' and '.join(others)} alone; "
                "label some for training, or check its splits: what is trained on is measured."
            )
        return (
            Objects.from_pictures(found.classes, pictures),
            [str(picture.file) for picture in pictures],
        )
    progress = functools.partial(tqdm, desc="reading", unit=" objects", file=sys.stderr)
    annotations = read_coco(data, progress=progress)
    for problem in annotations.problems:
        print(f"note: {problem}", file=sys.stderr)
    names = [image["file_name"] for image in annotations.dataset["images"]]
    return Objects.from_coco(annotations.dataset), names


def _measure_detector(args: argparse.Namespace, objects: Objects, files: list[str]) -> dict:
    from mmdet_rank.cli.analyze_detector import load_detector, training_samples
    from mmdet_rank.imbalance.priors import measure_priors
    from mmdet_rank.imbalance.training import measure_training

    config, model, objects = load_detector(args, objects)
    bar = functools.partial(tqdm, unit=" images", file=sys.stderr)
    with explained("The priors of the config cannot be measured on this data"):
        found: dict[str, Any] = {
            "priors": measure_priors(
                config,
                model,
                objects,
                max_images=args.max_images,
                progress=functools.partial(bar, desc="priors"),
            )
        }
    if args.checkpoint:
        with_objects = np.unique(objects.image)
        number = min(max(args.max_images // 2, 1), len(with_objects))
        chosen = with_objects[np.linspace(0, len(with_objects) - 1, number).astype(int)]
        pictures = [find_picture(args.data, files[i], args.images) for i in chosen]
        samples = training_samples(config, objects, pictures, chosen.tolist())
        with explained("A training step of the checkpoint failed on this data"):
            found["training"] = measure_training(
                model, samples, progress=functools.partial(bar, desc="training steps", unit="")
            )
        found["checkpoint"] = str(args.checkpoint)
        found["paces"] = read_paces(Path(args.checkpoint).parent)
    return found


def read_paces(folder: Path) -> dict[str, Any]:
    """Measure the paces of the training that left a checkpoint.

    Empty where its log is gone, or damaged, which a note says: the rest is worth having alone.

    Args:
        folder: of the checkpoint; the log lies in it, or, as after ``train DATA``, in
            ``training/`` below.
    """
    for place in (folder, folder / "training"):
        try:
            return measure_paces(read_scalars(place))
        except FileNotFoundError:
            continue
        except (ValueError, OSError) as error:
            print(f"note: the paces of the training are left out: {error}", file=sys.stderr)
    return {}


def find_picture(data: Path, name: str, images: Path | None = None) -> Path:
    """Where the picture of an image lies.

    Args:
        data: Annotation file or folder of the data set. The picture is in its folder, beside that,
            or in one folder beside it; of several that have it, in the one that an annotation file
            such as ``instances_train.json`` is called after.
        name: Of the picture.
        images: The folder that the user says the pictures are in.

    Raises:
        UserError: There is no such picture, or several folders have one.
    """
    if os.path.isabs(name):
        return Path(name)
    folder = images or (data if data.is_dir() else data.parent)
    # Names may begin with the folder that is given.
    own = images is not None and Path(name).parts[:1] == (images.name,)
    roots = [folder, folder.parent] if own or images is None else [folder]
    for root in roots:
        if (root / name).is_file():
            return root / name
    beside = [] if images else sorted(path for path in folder.parent.glob("*") if path.is_dir())
    found = [path for path in beside if (path / name).is_file()]
    if len(found) > 1:
        named = [path for path in found if path.name in data.stem]
        longest = max((len(path.name) for path in named), default=0)
        found = [path for path in named if len(path.name) == longest] or found
    if len(found) == 1:
        return found[0] / name
    if found:
        raise UserError(
            f"Expected one picture {name} beside {folder}, but it is in "
            f"{' and '.join(map(str, found))}; give the folder of the pictures with --images."
        )
    raise UserError(
        f"Expected the picture {name} in {folder}{'' if images else ' or beside it'}, but there is "
        "none; give the folder of the pictures with --images."
    )
