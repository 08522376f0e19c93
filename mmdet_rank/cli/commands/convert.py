"""Convert a checkpoint of the published implementations into one of this package.

Example:
    mmdet-rank convert mmdet_rank::rank_sort/rs-atss_r50_fpn_4xb4-1x_coco.py old.pth new.pth
"""

from __future__ import annotations

import argparse

from mmdet_rank.cli.arguments import add_config_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("config", metavar="CONFIG", help="config of the same detector here")
    parser.add_argument(
        "old",
        metavar="OLD",
        help="checkpoint of MMDetection 1 or 2, or YOLOv8's tensors by other names",
    )
    parser.add_argument("new", metavar="NEW", help="where the converted checkpoint goes")
    add_config_options(parser)


def run(args: argparse.Namespace) -> None:
    """Convert."""
    from mmdet_rank.cli.convert_checkpoint import convert

    convert(args)
