"""Train a detector from a config.

Example:
    mmdet-rank train mmdet_rank::rank_sort/rs-atss_r50_fpn_4xb4-1x_coco.py --work-dir work_dirs/atss
"""

from __future__ import annotations

import argparse

from mmdet_rank.cli.arguments import add_run_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments, which are those of MMDetection's own tool."""
    parser.add_argument("config", metavar="CONFIG", help="config file, or mmdet_rank::FOLDER/FILE")
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
        "from the beginning where there is none",
    )


def run(args: argparse.Namespace) -> None:
    """Train."""
    from mmdet_rank.cli.train import train

    train(args)
