"""Keep torch.compile out of functions whose shapes follow the data."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch


def run_eagerly(function: Callable) -> Callable:
    """Decorator: one clean graph break around the function instead of dozens inside.

    The number of positives changes with every batch, and a compiler that traced into the ranking
    sums would compile them again and again.
    """
    eager = None

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        nonlocal eager
        if eager is None:
            # Not at import: this loads the compiler, which takes a second.
            eager = torch.compiler.disable(function)
        return eager(*args, **kwargs)

    return wrapper
