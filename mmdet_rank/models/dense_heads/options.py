"""Defaults that all heads share, so that a config names only what it changes."""

from __future__ import annotations


def ranking_loss_config(loss_cls: dict) -> dict:
    """A ranking loss's config as MMDetection's heads want to read it: with ``use_sigmoid``."""
    return dict(use_sigmoid=True) | dict(loss_cls)


def refuse_centerness(head: object, options: dict) -> None:
    """Take ``loss_centerness`` out of a head's options, where it may only be None.

    Raises:
        ValueError: If it is a loss.
    """
    if options.pop("loss_centerness", None) is not None:
        raise ValueError(
            f"Expected no loss_centerness in {type(head).__name__}, which has no auxiliary "
            "branch; remove it from the config, or write loss_centerness=None to override a base."
        )
