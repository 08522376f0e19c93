"""Imports the package before any test imports MMDetection: it may have to stand in for mmcv."""

import mmdet_rank.register  # noqa: F401
