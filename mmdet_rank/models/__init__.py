"""Heads that state a ranking problem, subclasses of MMDetection's own; and parts it lacks."""

import mmdet_rank._stack  # noqa: F401

from . import backbones, dense_heads, necks, roi_heads, task_modules, trackers
from .class_distances import WithClassDistances

__all__ = [
    "WithClassDistances",
    "backbones",
    "dense_heads",
    "necks",
    "roi_heads",
    "task_modules",
    "trackers",
]
