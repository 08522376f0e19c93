"""How the tools end when the user made a mistake: one message, exit code 1, no traceback."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

TRACEBACK = "MMDET_RANK_TRACEBACK"
# What shells give to a program that Ctrl-C has ended: 128 and the number of the signal.
INTERRUPTED = 130


class UserError(Exception):
    """A mistake of the user; the message says what was expected, what came, and what to do."""


class Interrupted(Exception):
    """The user stopped a program by Ctrl-C; the message says how to go on."""


def run_tool(main: Callable[[], int | None]) -> int:
    """Run the main function of a tool.

    Args:
        main: Called without arguments.

    Returns:
        The exit code: what `main` returned or 0, 1 after a message on stderr when it raised
        UserError or OSError, 1 also when nobody reads its output any more, or 130 after Ctrl-C.
        Other exceptions are faults of a program, not of its user, and pass.
    """
    for stream in (sys.stdout, sys.stderr):
        # Names that a terminal cannot show are replaced: they must not end a program.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = main() or 0
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # As with `| head`. Python flushes once more at its end, where nothing can catch the error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (Interrupted, KeyboardInterrupt) as error:
        how = str(error) or "start it again with the same command"
        print(f"\ninterrupted: {how}.", file=sys.stderr)
        return INTERRUPTED
    except (UserError, OSError) as error:
        if traceback_wanted():
            raise
        text = _of_the_system(error) if isinstance(error, OSError) else str(error)
        rank = os.environ.get("RANK", "0")
        where = "" if rank == "0" else f" (process {rank})"
        print(f"error{where}: {text}", file=sys.stderr)
        return 1


def _of_the_system(error: OSError) -> str:
    """The message of an error of files; those that this package raises say all themselves."""
    if error.errno is None:
        return str(error)
    return (
        f"Expected files that can be read and written, but got: {error}; check the path, its "
        f"permissions and the room on the disk (set {TRACEBACK}=1 for the traceback)"
    )


def traceback_wanted() -> bool:
    """Tell whether the user asked for tracebacks, by the environment variable."""
    return os.environ.get(TRACEBACK, "") not in ("", "0")


@contextmanager
def refused_input(where: str = "") -> Iterator[None]:
    """Turn the errors by which a function refuses what the user gave into UserErrors.

    Args:
        where: The place in the config that the input comes from, to be added to the message.

    Raises:
        UserError: With the message of the ValueError or OSError, or of the ImportError of a package
            that only this input needs.
    """
    try:
        yield
    except ModuleNotFoundError:
        raise  # mmdet_rank.cli.main says what installs the package
    except (ValueError, OSError, ImportError) as error:
        raise UserError(f"{error} [{where}]" if where else str(error)) from error


@contextmanager
def interruptible(how_to_go_on: Callable[[], str]) -> Iterator[None]:
    """End by one sentence where the user presses Ctrl-C.

    Args:
        how_to_go_on: Gives the sentence, without its full stop.

    Raises:
        Interrupted: The user pressed Ctrl-C.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(how_to_go_on()) from None


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
