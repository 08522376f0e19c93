"""Detect on pictures: draw them, and write detections.json.

What is drawn reaches the thresholds that the training found best by LRP Error; no config is needed.

Examples:
    mmdet-rank predict work_dirs/cells new_pictures/ --out detections
    mmdet-rank predict work_dirs/cells/best.pth 'new_pictures/*.jpg' --out detections
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "checkpoint", metavar="DIR|CHECKPOINT", help="work folder of a training, or a checkpoint"
    )
    parser.add_argument(
        "pictures", metavar="PICTURES", help="a picture, a folder, or a quoted pattern"
    )
    parser.add_argument("--out", required=True, help="folder of the results")
    parser.add_argument(
        "--thresholds",
        metavar="FILE",
        help="{class: score}, or an LRP report (default: thresholds.json beside the checkpoint)",
    )
    parser.add_argument(
        "--score-thr",
        type=float,
        metavar="SCORE",
        help="one score for all classes, in place of their thresholds; beside --thresholds, for "
        "classes that have none there",
    )
    parser.add_argument("--device", help="such as cpu or cuda:0; the best there is by default")
    parser.add_argument(
        "--trust-checkpoint",
        action="store_true",
        help="also read checkpoints that hold more than weights and a config of plain values, "
        "which runs code from the file",
    )


def run(args: argparse.Namespace) -> None:
    """Detect."""
    from mmdet_rank.cli.predict import predict

    predict(args)
