"""Show or save training images with their labels.

MMDetection's own tool, run for configs of this package.

Example:
    mmdet-rank browse-dataset CONFIG --output-dir pictures --not-show
"""

from __future__ import annotations

import argparse

from mmdet_rank.cli.mmdet_tools import add_passed_arguments, run_mmdet_tool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is passed on."""
    add_passed_arguments(parser)


def run(args: argparse.Namespace) -> int | None:
    """Run MMDetection's tool."""
    return run_mmdet_tool("analysis_tools/browse_dataset.py", args.arguments)
