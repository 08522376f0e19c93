"""MMDetection's own everyday tools, for configs of this package.

MMDetection's wheel carries its tools, but they import it before any config could name
`mmdet_rank`, which is too late where this package has to stand in for mmcv's compiled operators,
and their mistakes end in tracebacks. Here they run as they are, after this package is imported.
"""

from __future__ import annotations

import runpy
import sys
from itertools import takewhile
from pathlib import Path

import mmdet

from mmdet_rank.cli.errors import UserError, explained, run_tool

INPUTS = (".py", ".json")


def run_mmdet_tool(name: str) -> int:
    """Run one of MMDetection's tools with the arguments of this program.

    Args:
        name: Its path below MMDetection's `tools`, such as "misc/print_config.py".

    Returns:
        The exit code: what the tool ends with, or 1 after one message when it fails.
    """
    return run_tool(lambda: _run(name))


def _run(name: str) -> None:
    script = Path(mmdet.__file__).parent / ".mim" / "tools" / name
    if not script.is_file():
        raise UserError(
            f"Expected MMDetection's own tools beside it, but {script} does not exist; install "
            "MMDetection from a wheel: pip install onedl-mmdetection==3.5.1"
        )
    # Inputs come before the flags, some of which name outputs.
    for argument in takewhile(lambda text: not text.startswith("-"), sys.argv[1:]):
        if Path(argument).suffix in INPUTS and not Path(argument).exists():
            raise UserError(
                f"Expected a file, but {argument} does not exist (looked from {Path.cwd()})"
            )
    with explained(f"MMDetection's {script.name} failed"):
        runpy.run_path(str(script), run_name="__main__")
