"""LRP Error: evaluation of any detector's results. Needs neither PyTorch nor MMDetection.

``lrp`` holds the definition as functions of arrays; ``coco``, ``lvis`` and ``panoptic`` match
result files with ground truth; ``report`` turns matches into figures; ``thresholds`` reads and
applies LRP-optimal thresholds; ``submission`` packs results for COCO test-dev. The metrics of
MMDetection's registry are in ``metrics``, which needs MMDetection.
"""

from .lrp import (
    LRPCurve,
    LRPError,
    MatchedDetections,
    OptimalLRP,
    lrp_at_threshold,
    lrp_curve,
    lrp_error,
    lrp_from_counts,
    mean_defined,
    optimal_lrp,
)
from .quality import PanopticQuality, giou_quality, panoptic_quality

__all__ = [
    "LRPCurve",
    "LRPError",
    "MatchedDetections",
    "OptimalLRP",
    "PanopticQuality",
    "giou_quality",
    "lrp_at_threshold",
    "lrp_curve",
    "lrp_error",
    "lrp_from_counts",
    "mean_defined",
    "optimal_lrp",
    "panoptic_quality",
]
