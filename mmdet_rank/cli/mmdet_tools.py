"""MMDetection's own everyday tools, for configs of this package.

MMDetection's wheel carries its tools, but they import it before any config could name
`mmdet_rank.register`, which is too late where this package has to stand in for mmcv's compiled
operators, and their mistakes end in tracebacks. Here they run as they are, after that.
"""

from __future__ import annotations

import argparse
import importlib
import runpy
import sys
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from mmdet_rank.cli.errors import UserError, explained

INPUTS = (".py", ".json")


def add_passed_arguments(parser: argparse.ArgumentParser) -> None:
    """Take whatever MMDetection's tool takes."""
    parser.add_argument(
        "arguments",
        nargs=argparse.REMAINDER,
        metavar="ARGUMENTS",
        help="those of MMDetection's tool; it lists them after its first one and --help",
    )


def run_mmdet_tool(name: str, arguments: Sequence[str]) -> int | None:
    """Run one of MMDetection's tools.

    Args:
        name: Its path below MMDetection's `tools`, such as "misc/print_config.py".
        arguments: Its command line.

    Returns:
        The exit code of the tool.

    Raises:
        UserError: An input does not exist, or the tool failed.
    """
    with explained("MMDetection's tools need MMDetection"):
        importlib.import_module("mmdet_rank.register")
        mmdet = importlib.import_module("mmdet")
    script = Path(mmdet.__path__[0]) / ".mim" / "tools" / name
    if not script.is_file():
        raise UserError(
            f"Expected MMDetection's own tools beside it, but {script} does not exist; install "
            "MMDetection from a wheel: pip install onedl-mmdetection==3.5.1"
        )
    arguments = [_packaged(argument) for argument in arguments]
    # Inputs come before the flags, some of which name outputs.
    for argument in takewhile(lambda text: not text.startswith("-"), arguments):
        if Path(argument).suffix in INPUTS and not Path(argument).exists():
            raise UserError(
                f"Expected a file, but {argument} does not exist (looked from {Path.cwd()})"
            )
    own, sys.argv = sys.argv, [script.name, *arguments]
    try:
        with explained(f"MMDetection's {script.name} failed"):
            runpy.run_path(str(script), run_name="__main__")
    finally:
        sys.argv = own
    return None


def _packaged(argument: str) -> str:
    """The path of a config that was named as one of this package."""
    from mmdet_rank.cli.config import PREFIX, find_config

    return str(find_config(argument)) if argument.startswith(PREFIX) else argument
