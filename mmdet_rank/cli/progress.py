"""Running subcommands as processes, their long output in a file and a progress bar instead."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from mmdet_rank.cli.errors import UserError

_POLL_SECONDS = 0.5
_LINES_SHOWN = 15
# MMEngine's log lines of training by epoch: "Epoch(train)  [1][ 20/375]  ... loss: 1.2345  ...".
_ITERATION = re.compile(
    r"Epoch\(train\)\s+\[(?P<epoch>\d+)\]\[\s*(?P<done>\d+)/(?P<length>\d+)\].*?"
    r"\bloss: (?P<loss>[-\d.]+|nan|inf)"
)


def run_quietly(command: Sequence[str], log: Path) -> None:
    """Run a command with its output in a file.

    Raises:
        UserError: The command failed; the message has the end of its output.
    """
    _show(command, log)
    for _ in _polled(command, log):
        pass


def run_training(command: Sequence[str], log: Path, epochs: int) -> Iterator[float]:
    """Run a training with its output in a file and a progress bar on standard error.

    Says how long it will take as soon as two lines of the log tell.

    Args:
        command: Trains by epochs, with MMEngine's log on its output.
        log: The file, which is appended to.
        epochs: How many epochs the training has.

    Yields:
        Seconds since the command began or since the last value.

    Raises:
        UserError: The command failed; the message has the end of its output.
    """
    _show(command, log)
    position = log.stat().st_size if log.is_file() else 0
    latest = time.perf_counter()
    first: tuple[int, float] | None = None
    told = False
    with tqdm(unit="iteration", desc="training", mininterval=0) as bar:
        for _ in _polled(command, log):
            position = _advance(bar, log, position, epochs)
            now = time.perf_counter()
            if first is None and bar.n:
                first = bar.n, now  # what went before was loading
            elif first is not None and bar.n > first[0] and not told:
                told = True
                left = (bar.total - bar.n) * (now - first[1]) / (bar.n - first[0])
                bar.write(f"Training takes about {left / 60:.0f} minutes more on this machine")
            yield now - latest
            latest = now


def _show(command: Sequence[str], log: Path) -> None:
    """Print a command as a user would type it."""
    print(f"$ {_shown(command)}\n  (its output: {log})", flush=True)


def _shown(command: Sequence[str]) -> str:
    """A command as a user would type it."""
    start = [sys.executable, "-m", "mmdet_rank"]
    return shlex.join(["mmdet-rank", *command[3:]] if command[:3] == start else command)


def _polled(command: Sequence[str], log: Path) -> Iterator[None]:
    """Run a command, yielding every now and then, and once more when it has ended well."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        while process.poll() is None:
            yield
            time.sleep(_POLL_SECONDS)
        yield
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    if process.returncode:
        raise UserError(
            f"{' '.join(_shown(command).split()[:2])} ended with exit code {process.returncode}:\n"
            f"{_last_words(log)}\nAll of its output is in {log}"
        )


def _last_words(log: Path) -> str:
    """The message that a tool of this project ended with, or else the last lines of its output."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    messages = [number for number, line in enumerate(lines) if line.startswith("error")]
    start = messages[-1] if messages else -_LINES_SHOWN
    return "\n".join(lines[start:])


def _advance(bar: tqdm, log: Path, position: int, epochs: int) -> int:
    """Move a bar by what was logged since a position in the file; returns the new position."""
    with log.open("rb") as file:
        file.seek(position)
        new = file.read()
    whole = new[: new.rfind(b"\n") + 1]
    text = whole.decode("utf-8", errors="replace")
    for match in _ITERATION.finditer(text):
        length = int(match["length"])
        bar.total = length * epochs
        bar.n = length * (int(match["epoch"]) - 1) + int(match["done"])
        bar.set_postfix(epoch=match["epoch"], loss=match["loss"], refresh=False)
        bar.refresh()
    return position + len(whole)
