"""The command ``mmdet-rank``: finds the subcommand, reads its arguments, runs it."""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import sys
from collections.abc import MutableMapping, Sequence
from types import ModuleType
from typing import NoReturn

from mmdet_rank.cli.errors import UserError, run_tool
from mmdet_rank.compat import StackError
from mmdet_rank.version import __version__

#: Subcommands and what they do; each is a file of ``mmdet_rank/cli/commands``.
COMMANDS = {
    "train": "train a detector, on your own data or from a config",
    "test": "evaluate a detector: AP, LRP Error, a submission",
    "predict": "detect on pictures, by the best thresholds",
    "eval": "LRP Error and AP of result files, without a model",
    "analyze": "imbalance of a data set, and what a detector makes of it, as a page",
    "convert-data": "labelled pictures in COCO, YOLO, VOC or LabelMe form, or masks, as COCO files",
    "demo": "data, training, evaluation and pictures by one command",
    "demo-image": "draw a detector's detections on pictures",
    "convert": "convert a published checkpoint",
    "make-digits": "make the data set of the demo",
    "check": "can this environment train, and what mends it if not",
    "print-config": "print a config with all that it inherits",
    "browse-dataset": "show training images with their labels",
    "get-flops": "count a model's operations and parameters",
    "analyze-logs": "curves and times from the logs of trainings",
}
PROGRAM = "mmdet-rank"


class Parser(argparse.ArgumentParser):
    """An argument parser that ends as every other mistake of the user does."""

    def error(self, message: str) -> NoReturn:
        """Raise UserError with the message in one line."""
        raise UserError(f"{message} (see {self.prog} --help)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``mmdet-rank``.

    Args:
        argv: Subcommand and its arguments, those of the command line by default.

    Returns:
        The exit code: 1 after a mistake of the user, which one message tells.

    Example:
        >>> main(["--version"])
        mmdet-rank ...
        0
    """
    name, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("-h", "--help"):
        return run_tool(lambda: print(overview()))
    if name == "--version":
        print(f"{PROGRAM} {__version__}")
        return 0
    return run_tool(lambda: _run(name, rest, f"{PROGRAM} {name}"))


def run_command(name: str, argv: Sequence[str] | None = None) -> int:
    """Run a subcommand as a program of its own, such as ``tools/train.py``.

    Args:
        name: The subcommand.
        argv: Its arguments, those of the command line by default.

    Returns:
        The exit code.
    """
    rest = sys.argv[1:] if argv is None else argv
    return run_tool(lambda: _run(name, rest, sys.argv[0] if argv is None else f"{PROGRAM} {name}"))


def parse_command(name: str, argv: Sequence[str], prog: str | None = None) -> argparse.Namespace:
    """Read the arguments of a subcommand.

    Args:
        name: The subcommand.
        argv: Its arguments.
        prog: What the help calls the program.

    Raises:
        UserError: There is no such subcommand, or the arguments are wrong.
        SystemExit: The arguments ask for help.
    """
    module = _load(name)
    parser = Parser(
        prog=prog or f"{PROGRAM} {name}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    return parser.parse_args(argv)


def overview() -> str:
    """Return the help of ``mmdet-rank``."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            f"usage: {PROGRAM} COMMAND [ARGUMENTS]",
            "",
            "Ranking losses and the LRP Error for MMDetection 3.x.",
            "",
            *lines,
            "",
            f"{PROGRAM} COMMAND --help tells of one command, {PROGRAM} --version which version "
            "this is.",
        ]
    )


def let_threads_sleep(environment: MutableMapping[str, str]) -> None:
    """Have OpenMP's threads sleep while they wait for each other, unless the user chose otherwise.

    They spin by default. Beside one busy core a step of a training on a CPU then took twice as
    long, and beside two it fell apart. OpenMP reads this when torch is loaded.

    Args:
        environment: That of this process, and so of the processes that it starts.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"} & environment.keys():
        environment.update(GOMP_SPINCOUNT="0", KMP_BLOCKTIME="0")


def _run(name: str, argv: Sequence[str], prog: str) -> int | None:
    let_threads_sleep(os.environ)
    args = parse_command(name, argv, prog)
    try:
        return _load(name).run(args)
    except StackError as error:
        raise UserError(str(error)) from error
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package == "mmdet_rank":
            raise
        if not str(error).startswith("No module named"):
            raise UserError(str(error)) from error  # It says itself what to install.
        raise UserError(
            f"Expected {package} for {PROGRAM} {name}, but it is not installed; do what "
            f"`{PROGRAM} check` says"
        ) from error


def _load(name: str) -> ModuleType:
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"do you mean {close[0]}?" if close else f"{PROGRAM} --help lists them"
        raise UserError(f"Expected a command, but got {name!r}; {hint}")
    return importlib.import_module(f"mmdet_rank.cli.commands.{name.replace('-', '_')}")
