"""Print a config with everything that it inherits.

MMDetection's own tool, run for configs of this package.

Example:
    mmdet-rank print-config CONFIG
"""

from __future__ import annotations

import argparse

from mmdet_rank.cli.mmdet_tools import add_passed_arguments, run_mmdet_tool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is passed on."""
    add_passed_arguments(parser)


def run(args: argparse.Namespace) -> int | None:
    """Run MMDetection's tool."""
    return run_mmdet_tool("misc/print_config.py", args.arguments)
