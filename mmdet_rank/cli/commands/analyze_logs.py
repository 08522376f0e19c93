r"""Plot curves of logs, or print the times of iterations.

MMDetection's own tool, run for logs of this package.

Examples:
    mmdet-rank analyze-logs plot_curve work_dirs/atss/*/vis_data/scalars.json \
        --keys loss_cls --out a.png
    mmdet-rank analyze-logs cal_train_time work_dirs/atss/*/vis_data/scalars.json
"""

from __future__ import annotations

import argparse

from mmdet_rank import compat
from mmdet_rank.cli.errors import UserError
from mmdet_rank.cli.mmdet_tools import add_passed_arguments, run_mmdet_tool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is passed on."""
    add_passed_arguments(parser)


def run(args: argparse.Namespace) -> int | None:
    """Run MMDetection's tool."""
    passed = args.arguments
    if not passed:
        raise UserError(
            "Expected what to do with which logs, but got nothing; give plot_curve or "
            "cal_train_time, and files such as work_dirs/atss/*/vis_data/scalars.json"
        )
    # The default style of the tool is one of seaborn's; onedl-mmdetection plots without seaborn.
    original = [found.distribution for found in compat.find(compat.MMDET)] == ["mmdet"]
    if not original and "plot_curve" in passed and "--style" not in passed:
        passed = [*passed, "--style", "default"]
    return run_mmdet_tool("analysis_tools/analyze_logs.py", passed)
