r"""Evaluate a detector from a config and a checkpoint.

Examples:
    mmdet-rank test CONFIG work_dirs/atss/epoch_12.pth
    mmdet-rank test CONFIG CHECKPOINT --submission submission/ \
        --cfg-options test_dataloader.dataset.ann_file=annotations/image_info_test-dev2017.json \
        test_dataloader.dataset.data_prefix.img=test2017/
"""

from __future__ import annotations

import argparse

from mmdet_rank.cli.arguments import add_run_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments: those of MMDetection's own tool, and --thresholds and --submission."""
    parser.add_argument("config", metavar="CONFIG", help="config file, or mmdet_rank::FOLDER/FILE")
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="checkpoint file")
    add_run_arguments(parser)
    parser.add_argument("--out", metavar="FILE", help="also write all predictions to this .pkl")
    parser.add_argument("--show", action="store_true", help="show the detections in a window")
    parser.add_argument("--show-dir", help="folder, under that of the run, for painted images")
    parser.add_argument(
        "--wait-time", type=float, default=2, help="seconds that --show shows an image"
    )
    parser.add_argument("--tta", action="store_true", help="augment at test time")
    parser.add_argument(
        "--thresholds",
        metavar="FILE",
        help="keep only detections that reach the score threshold of their category: "
        "{name: score}, or an LRP report",
    )
    parser.add_argument(
        "--submission",
        metavar="DIR",
        help="test on an image list without annotations (test_dataloader.dataset.ann_file) and "
        "write the zip file for the COCO test-dev server",
    )


def run(args: argparse.Namespace) -> None:
    """Evaluate."""
    from mmdet_rank.cli.test import evaluate

    evaluate(args)
