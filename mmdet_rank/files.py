"""Reading JSON with clear messages, and writing files whole or not at all."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

__all__ = ["load_json", "without_garbage_collection", "write_json", "written_whole"]

# Smaller files are read before anybody asks how far it is.
_LARGE = 20_000_000
_TICK = 10_000
# More than systems follow.
_MAX_LINKS = 50


def load_json(path: str | Path, *, progress: Callable[..., Any] | None = None) -> Any:
    """Read a JSON file in any of Unicode's encodings, with or without a byte order mark.

    Args:
        path: the file.
        progress: makes a progress bar, as ``tqdm.tqdm`` does: called as ``progress(total=N)``, and
            ``update(n)`` of what it returns as objects are read. Only files of 20 MB and more call
            it.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it is not JSON.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"Expected a JSON file, but {path} does not exist (looked from {Path.cwd()}); check "
            "the path."
        )
    raw = path.read_bytes()
    size = len(raw)
    try:
        text = raw.decode(json.detect_encoding(raw[:4]))
        del raw
        with without_garbage_collection():
            if progress is None or size < _LARGE:
                return json.loads(text)
            with progress(total=text.count("{")) as bar:
                return json.loads(text, object_hook=_Ticker(bar))
    # Numbers of thousands of digits raise a plain ValueError, and nesting without end a
    # RecursionError.
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"Expected JSON in {path}, but it cannot be read: {error}; the file has {size} bytes: "
            "copy or write it again."
        ) from None


class _Ticker:
    """Counts the objects that the JSON decoder has finished."""

    def __init__(self, bar: Any) -> None:
        self.bar = bar
        self.count = 0

    def __call__(self, value: dict) -> dict:
        self.count += 1
        if self.count % _TICK == 0:
            self.bar.update(_TICK)
        return value


@contextlib.contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Keep Python's collector from walking over millions of new objects again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextlib.contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """Give a temporary path to write to, which becomes ``path`` when all went well.

    An error in the body leaves neither the temporary file nor a changed ``path``. Folders that are
    missing are made. Of a link, the file that it leads to is written. Pipes, devices and open files
    such as ``/dev/stdout`` stay what they are, and get the bytes.
    """
    path = Path(path)
    special = _descriptor(path) is not None or (
        path.exists() and not path.is_file() and not path.is_dir()
    )
    place = path if special else Path(os.path.realpath(path))
    if not special:
        place.parent.mkdir(parents=True, exist_ok=True)
    # Writers tell the format by the name that was given; a link's target may have another ending.
    handle, name = tempfile.mkstemp(
        dir=None if special else place.parent, prefix=".", suffix=path.suffix
    )
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        if special:
            _copy_into(path, temporary)
        else:
            # mkstemp makes files that their owner alone may read.
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
            temporary.replace(place)
    finally:
        temporary.unlink(missing_ok=True)


def _descriptor(path: Path) -> int | None:
    """Return the number of the open file of this process that a path such as /dev/stdout names."""
    folders = {os.path.realpath("/proc/self/fd"), "/dev/fd"}
    for _ in range(_MAX_LINKS):
        # From the number one more link leads on, to a file that may be a pipe, or have no name.
        if path.name.isdecimal() and os.path.realpath(path.parent) in folders:
            return int(path.name)
        if not path.is_symlink():
            return None
        path = path.parent / os.readlink(path)
    return None


def _copy_into(path: Path, temporary: Path) -> None:
    """Write the bytes of a file into a pipe, a device or an open file."""
    number = _descriptor(path)
    if number is None:
        # Without O_CREAT: what has gone meanwhile is not made a regular file.
        number = os.open(path, os.O_WRONLY)
    else:
        # Opened anew, a regular file would be written from its beginning, over what is there.
        sys.stdout.flush()
        sys.stderr.flush()
        number = os.dup(number)
    with temporary.open("rb") as source, os.fdopen(number, "wb") as target:
        shutil.copyfileobj(source, target)


def write_json(path: str | Path, data: object, *, indent: int | None = 2) -> None:
    """Write data as JSON, whole or not at all.

    Raises:
        ValueError: for NaN or infinity, which JSON does not have.
    """
    text = json.dumps(data, indent=indent, ensure_ascii=False, allow_nan=False) + "\n"
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
