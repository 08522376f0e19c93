"""Heads of two-stage and cascaded detectors."""

from .rank_bbox_head import RankShared2FCBBoxHead
from .rank_cascade_roi_head import RankCascadeRoIHead
from .rank_mask_head import RankFCNMaskHead
from .rank_standard_roi_head import RankStandardRoIHead

__all__ = [
    "RankCascadeRoIHead",
    "RankFCNMaskHead",
    "RankShared2FCBBoxHead",
    "RankStandardRoIHead",
]
