"""The package's uses of torch beyond its documented interface, in one place.

Seen with torch 2.11.0; `tests/test_env/test_private_names.py` says what to look at when another
version differs.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch


@contextmanager
def allowed_globals(types: list) -> Iterator[None]:
    """Let files that are read as weights hold these types; torch 2.4 cannot take it back."""
    if hasattr(torch.serialization, "safe_globals"):
        with torch.serialization.safe_globals(types):
            yield
    else:
        torch.serialization.add_safe_globals(types)
        yield


def is_of_old_format(path: Path) -> bool:
    """Tell whether a file begins as torch saved before 1.6, as published checkpoints do."""
    magic = pickle.dumps(torch.serialization.MAGIC_NUMBER, protocol=2)
    with path.open("rb") as file:
        return file.read(len(magic)) == magic
