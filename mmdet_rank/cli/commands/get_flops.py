"""Count the operations and parameters of a model.

MMDetection's own tool, run for configs of this package.

Example:
    mmdet-rank get-flops CONFIG --num-images 1
"""

from __future__ import annotations

import argparse

from mmdet_rank.cli.mmdet_tools import add_passed_arguments, run_mmdet_tool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is passed on."""
    add_passed_arguments(parser)


def run(args: argparse.Namespace) -> int | None:
    """Run MMDetection's tool."""
    return run_mmdet_tool("analysis_tools/get_flops.py", args.arguments)
