"""Tell whether this environment can train, and what mends it if not.

Example:
    mmdet-rank check
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add no arguments."""


def run(args: argparse.Namespace) -> int:
    """Print the report; return 1 when training could not work."""
    from mmdet_rank import check_env

    return check_env.main()
