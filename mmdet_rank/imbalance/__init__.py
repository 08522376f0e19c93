"""Imbalance of data sets and detectors, measured (thesis chapter 3).

``objects`` reads what is annotated, ``data`` measures it, ``priors`` and ``training`` measure what
a detector makes of it (they need MMDetection), ``paces`` how fast it learned, and ``findings`` says
what that means and what addresses it. ``visualization.imbalance_page`` draws the page of
``mmdet-rank analyze``.
"""

from .data import measure_data, repeat_factors
from .findings import Finding, find_imbalance
from .objects import Objects

__all__ = ["Finding", "Objects", "find_imbalance", "measure_data", "repeat_factors"]
