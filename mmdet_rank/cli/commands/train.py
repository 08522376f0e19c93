"""Train a detector, on your own pictures and labels or from a config.

DATA is a folder in COCO, YOLO, Pascal VOC or LabelMe form, or of pictures with masks. Classes,
image size, batch, learning rate and the rest are chosen from the data and the machine, and told
with their reasons; the work folder gets an ordinary config, the best checkpoint, its LRP Error and
thresholds, and a page with curves and pictures.

Examples:
    mmdet-rank train data/cells --detector rs-atss --work-dir work_dirs/cells
    mmdet-rank train work_dirs/cells/config.py --work-dir work_dirs/again
    mmdet-rank train mmdet_rank::rank_sort/rs-atss_r50_fpn_4xb4-1x_coco.py --work-dir work_dirs/atss
"""

from __future__ import annotations

import argparse

from mmdet_rank.cli.arguments import add_run_arguments, add_split_arguments
from mmdet_rank.cli.errors import UserError
from mmdet_rank.cli.own_data.detectors import check_base, find_detector

#: Arguments that belong to data alone, and to configs alone, with their defaults.
OF_DATA = {
    "detector": "rs-atss",
    "base": None,
    "max_iters": None,
    "val_share": 0.2,
    "test_share": 0.0,
    "seed": 0,
}
OF_CONFIGS = {"auto_scale_lr": False, "launcher": "none"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments: those of MMDetection's own tool, and those of one's own data."""
    parser.add_argument(
        "config",
        metavar="DATA|CONFIG",
        help="folder of a data set (or its .json or data.yaml); or a config file, or "
        "mmdet_rank::FOLDER/FILE",
    )
    add_run_arguments(parser)
    parser.add_argument(
        "--amp",
        action="store_true",
        help="train with mixed precision: float16 on a GPU, bfloat16 without one",
    )
    parser.add_argument(
        "--auto-scale-lr",
        action="store_true",
        help="scale the learning rate by total batch / auto_scale_lr.base_batch_size",
    )
    parser.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        metavar="CHECKPOINT",
        help="continue from this checkpoint; without one, from the latest in the work folder, or "
        "from the beginning where there is none; with DATA, in a work folder that the same command "
        "began",
    )
    data = parser.add_argument_group("with DATA")
    data.add_argument(
        "--detector",
        default=OF_DATA["detector"],
        metavar="NAME",
        help="rs-atss, rs-faster-rcnn, rs-mask-rcnn, rs-retinanet, rs-yolov8n ..., by the names of "
        "the configs; without rs- the stock detector (default: %(default)s)",
    )
    data.add_argument(
        "--base",
        metavar="WEIGHTS",
        help="imagenet: a backbone that pip brings (default, where the detector has one); coco: "
        "MMDetection's detector, which is downloaded; none; or a checkpoint file",
    )
    data.add_argument(
        "--max-iters", type=int, metavar="N", help="steps of the training (default: by the data)"
    )
    add_split_arguments(data)


def run(args: argparse.Namespace) -> None:
    """Train.

    Raises:
        UserError: An argument does not belong to what is given, or the training cannot be.
    """
    if is_config(args.config):
        _refuse(args, OF_DATA, "a data set", "give the folder of one, or set it in the config")
        from mmdet_rank.cli.train import train

        train(args)
        return
    advice = "train on the data once, then train DIR/config.py, which the work folder gets, with it"
    _refuse(args, OF_CONFIGS, "a config", advice)
    # What is mistyped is told before MMDetection is loaded, which takes seconds.
    check_base(find_detector(args.detector), args.base)
    from mmdet_rank.cli.own_data.command import train_on_data

    train_on_data(args)


def is_config(name: str) -> bool:
    """Tell a config from data by its name.

    Example:
        >>> is_config("work_dirs/cells/config.py"), is_config("data/cells")
        (True, False)
    """
    return name.endswith(".py") or "::" in name


def _refuse(args: argparse.Namespace, known: dict, what: str, advice: str) -> None:
    for name, default in known.items():
        if getattr(args, name) != default:
            flag = f"--{name.replace('_', '-')}"
            raise UserError(f"Expected {flag} with {what}, but got {args.config}; {advice}")
