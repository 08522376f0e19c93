"""Heads that state a ranking problem; subclasses of MMDetection's own."""

from . import dense_heads, roi_heads, task_modules

__all__ = ["dense_heads", "roi_heads", "task_modules"]
