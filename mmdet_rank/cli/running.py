"""How a run ends that does not come to its end: by a fault in it, or by Ctrl-C."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mmengine.dist import get_world_size
from mmengine.runner import Runner

from mmdet_rank._mmengine import of_the_last_iteration
from mmdet_rank.cli.checkpoints import find_latest
from mmdet_rank.cli.errors import UserError, explained, interruptible
from mmdet_rank.datasets.checked_data import EntryError


@contextmanager
def training(runner: Runner) -> Iterator[None]:
    """Save what was trained where the training in the body fails, and end by one message.

    Args:
        runner: The runner that trains.

    Raises:
        UserError: The training failed.
        Interrupted: The user pressed Ctrl-C.
    """
    try:
        with interruptible(lambda: _how_to_go_on(runner)), _explained("Training stopped", runner):
            yield
    except UserError as error:
        raise UserError(f"{error}{_save(runner)}") from error


@contextmanager
def testing(runner: Runner) -> Iterator[None]:
    """End by one message where the test in the body fails.

    Args:
        runner: The runner that tests.

    Raises:
        UserError: The test failed.
        Interrupted: The user pressed Ctrl-C.
    """
    with (
        interruptible(lambda: "nothing was written; the same command begins anew"),
        _explained("Testing stopped", runner),
    ):
        yield


@contextmanager
def _explained(what: str, runner: Runner) -> Iterator[None]:
    """Turn a fault into a message; the traceback goes beside the log."""
    with explained(what):
        try:
            yield
        except EntryError as error:
            raise UserError(str(error)) from error
        except UserError:
            raise
        except Exception:
            with suppress(OSError):  # A full disk may be the fault that is told.
                Path(runner.log_dir, "traceback.txt").write_text(traceback.format_exc())
            raise


def _how_to_go_on(runner: Runner) -> str:
    latest = find_latest(runner.work_dir)
    if latest is None:
        return "no checkpoint was written yet, so the same command begins anew"
    return f"add --resume to the same command to go on from {latest}"


def _save(runner: Runner) -> str:
    """Save the state of training; return a sentence about where, or why it cannot be saved."""
    # In several processes the others may wait for this one in the middle of an exchange.
    if get_world_size() > 1 or runner.iter == 0:
        return ""
    name = f"stopped_iter_{runner.iter}.pth"
    try:
        with of_the_last_iteration(runner):
            runner.save_checkpoint(runner.work_dir, name, by_epoch=False)
    except Exception as error:  # torch raises RuntimeError where the disk is full
        reason = (str(error).splitlines() or [""])[0]
        return (
            f"\nThe training cannot be saved where it stopped ({type(error).__name__}: {reason}); "
            f"{_how_to_go_on(runner)}"
        )
    path = Path(runner.work_dir, name)
    return f"\nWhat was trained is in {path}: add --resume {path} to go on from there"
