"""Make the digits data set, train a detector on it, evaluate it, draw pictures.

A step whose results are in the work folder is not repeated.

Example:
    mmdet-rank demo --work-dir work_dirs/demo
"""

from __future__ import annotations

import argparse
import sys

from mmdet_rank.datasets.digits.options import DigitsOptions

CONFIG = "mmdet_rank::digits/rs-atss_r18_fpn_digits.py"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    default = DigitsOptions()
    parser.add_argument(
        "--config", default=CONFIG, help="config of the detector (default: %(default)s)"
    )
    parser.add_argument(
        "--work-dir", default="work_dirs/demo", help="folder of the results (default: %(default)s)"
    )
    parser.add_argument(
        "--train", type=int, default=default.train, help="training images (default: %(default)s)"
    )
    parser.add_argument(
        "--val", type=int, default=default.val, help="validation images (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int | None:
    """Run the demo."""
    from mmdet_rank.cli.demo import demo

    try:
        demo(args)
    except KeyboardInterrupt:
        print("\nInterrupted; the same command goes on after the last epoch.", file=sys.stderr)
        return 130
    return None
