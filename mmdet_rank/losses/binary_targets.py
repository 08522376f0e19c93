"""Targets of losses on one logit per class."""

from __future__ import annotations

from torch import Tensor

from .base import scatter_labels


def binary_targets(pred: Tensor, target: Tensor) -> Tensor:
    """Targets of the shape of the logits.

    Args:
        pred: (N, C) logits with class labels, or logits of any shape.
        target: (N,) integer class of each sample, outside of 0..C-1 for background; or the shape
            of ``pred``, in [0, 1].

    Returns:
        Targets of the shape of ``pred``.

    Raises:
        ValueError: If the shapes are neither.
    """
    if target.shape == pred.shape:
        return target
    if pred.dim() == 2 and target.shape == pred.shape[:1] and not target.is_floating_point():
        return scatter_labels(pred, target).view_as(pred)
    raise ValueError(
        "Expected targets of the shape of the logits, or integer class labels (N,) for logits "
        f"(N, C), but got {tuple(target.shape)} of {target.dtype} for {tuple(pred.shape)}."
    )


def refuse_softmax(name: str, use_sigmoid: bool) -> None:
    """Refuse ``use_sigmoid=False`` for a loss on one logit per class.

    Raises:
        ValueError: If ``use_sigmoid`` is False.
    """
    if not use_sigmoid:
        raise ValueError(
            f"Expected use_sigmoid=True for {name}, but got False: it is a loss on one logit per "
            "class, which tells the class from the rest. Remove use_sigmoid from the config."
        )
