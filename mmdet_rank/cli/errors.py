"""How the tools end when the user made a mistake: one message, exit code 1, no traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

TRACEBACK = "MMDET_RANK_TRACEBACK"


class UserError(Exception):
    """A mistake of the user; the message says what was expected, what came, and what to do."""


def run_tool(main: Callable[[], int | None]) -> int:
    """Run the main function of a tool.

    Args:
        main: Called without arguments.

    Returns:
        The exit code: what `main` returned or 0, or 1 after a message on stderr when it raised
        UserError. Other exceptions are faults of a program, not of its user, and pass.
    """
    try:
        return main() or 0
    except UserError as error:
        if traceback_wanted():
            raise
        rank = os.environ.get("RANK", "0")
        where = "" if rank == "0" else f" (process {rank})"
        print(f"error{where}: {error}", file=sys.stderr)
        return 1


def traceback_wanted() -> bool:
    """Tell whether the user asked for tracebacks, by the environment variable."""
    return os.environ.get(TRACEBACK, "") not in ("", "0")


@contextmanager
def refused_input() -> Iterator[None]:
    """Turn the errors by which a function refuses what the user gave into UserErrors.

    Raises:
        UserError: With the message of the ValueError or OSError, or of the ImportError of a package
            that only this input needs.
    """
    try:
        yield
    except (ValueError, OSError, ImportError) as error:
        raise UserError(str(error)) from error


@contextmanager
def explained(what: str, diagnose: Callable[[], None] | None = None) -> Iterator[None]:
    """Turn any exception of a step that only follows the user's config into a UserError.

    Args:
        what: The step, as the beginning of the message.
        diagnose: Called after a failure; raises UserError where it finds a better reason than the
            exception gives.

    Raises:
        UserError: The step failed.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if diagnose is not None:
            diagnose()
        cause = _innermost(error)
        text = str(cause.args[0]) if isinstance(cause, KeyError) and cause.args else str(cause)
        raise UserError(
            f"{what}: {type(cause).__name__}: {text}\n(set {TRACEBACK}=1 for the traceback)"
        ) from error


def _innermost(error: BaseException) -> BaseException:
    """The exception that a chain of registries wrapped, each in another of the same type."""
    while type(error.__context__) is type(error):
        error = error.__context__
    return error
