"""Losses as functions on tensors. Imports torch alone.

The three ranking losses of the thesis share one primitive (``KnotTable``) and one contract
(``identity_update``); see ``docs/losses.md`` for what they optimise. Beside them stand the
score-based losses that they are compared and combined with.
"""

from .alrp import average_lrp_loss
from .ap import average_precision_loss
from .dice import bce_dice_loss, squared_dice_loss
from .focal_margin import focal_margin_loss
from .hybrid_focal_margin import hybrid_focal_margin_loss
from .identity_update import attach_gradient, identity_update
from .mean_iou import mean_iou_loss
from .rank_sort import rank_sort_loss
from .ranking import unit_step
from .ranking_weights import ranking_weights
from .reg import (
    class_distance_maps,
    class_distances,
    imbalance_ratio,
    inverse_frequency_weights,
    marginal_logits,
    refined_generalized_focal_loss,
    spatial_refinement,
)
from .tversky import focal_tversky_loss, tversky_index
from .unified_focal import unified_focal_loss

__all__ = [
    "attach_gradient",
    "average_lrp_loss",
    "average_precision_loss",
    "bce_dice_loss",
    "class_distance_maps",
    "class_distances",
    "focal_margin_loss",
    "focal_tversky_loss",
    "hybrid_focal_margin_loss",
    "identity_update",
    "imbalance_ratio",
    "inverse_frequency_weights",
    "marginal_logits",
    "mean_iou_loss",
    "rank_sort_loss",
    "ranking_weights",
    "refined_generalized_focal_loss",
    "spatial_refinement",
    "squared_dice_loss",
    "tversky_index",
    "unified_focal_loss",
    "unit_step",
]
