"""Defaults that all heads share, so that a config names only what it changes."""

from __future__ import annotations


def ranking_loss_config(loss_cls: dict) -> dict:
    """A ranking loss's config as MMDetection's heads want to read it: with ``use_sigmoid``."""
    return dict(use_sigmoid=True) | dict(loss_cls)
