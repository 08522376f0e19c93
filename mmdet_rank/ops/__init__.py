"""Ranking losses as functions on flat tensors. Imports torch alone.

The three losses of the thesis share one primitive (``ranking_sums``) and one contract
(``identity_update``); see ``docs/losses.md`` for what they optimise.
"""

from .average_lrp import average_lrp_loss
from .average_precision import average_precision_loss
from .identity_update import attach_gradient, identity_update
from .rank_sort import rank_sort_loss
from .step import unit_step

__all__ = [
    "attach_gradient",
    "average_lrp_loss",
    "average_precision_loss",
    "identity_update",
    "rank_sort_loss",
    "unit_step",
]
