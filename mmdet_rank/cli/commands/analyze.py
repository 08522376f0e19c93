"""Measure and draw the imbalance of a data set, and what a detector makes of it.

Writes imbalance.html, a page to read in two minutes, and imbalance.json.

Examples:
    mmdet-rank analyze data/coco/annotations/instances_train2017.json --out imbalance/
    mmdet-rank analyze data/mine --out imbalance/ --config CONFIG --checkpoint epoch_12.pth
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "data",
        metavar="DATA",
        type=Path,
        help="annotation file of COCO, or folder of a data set in any form that train takes, of "
        "which the training images are analysed",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write to")
    parser.add_argument(
        "--config", metavar="CONFIG", help="of a detector: also measure what its priors make of it"
    )
    parser.add_argument(
        "--checkpoint",
        metavar="FILE",
        help="of that detector: also measure shares of losses and gradients, which takes pictures",
    )
    parser.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help="folder of the pictures for --checkpoint (default: beside the annotations)",
    )
    parser.add_argument(
        "--max-images",
        type=int,
        default=100,
        metavar="N",
        help="images to give to a detector's priors, and half as many at most to a checkpoint "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--batch-size",
        type=int,
        default=16,
        metavar="N",
        help="images in a batch, for the classes that one holds (default: %(default)s)",
    )
    parser.add_argument(
        "--oversample-thr",
        type=float,
        metavar="SHARE",
        help="of ClassBalancedDataset: classes in fewer images are repeated (default: the share "
        "of images that the median class is in)",
    )
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="settings that override the config",
    )
    parser.add_argument(
        "--trust-checkpoint",
        action="store_true",
        help="also read checkpoints that hold more than weights, which runs code from the file",
    )


def run(args: argparse.Namespace) -> None:
    """Analyse."""
    from mmdet_rank.cli.analyze import analyze

    analyze(args)
