"""Registered losses: options and reduction over the functions of `mmdet_rank.ops`."""

from .alrp_loss import aLRPLoss
from .ap_loss import APLoss
from .base import RankedLoss, RankingLoss
from .focal_margin_loss import FocalMarginLoss
from .hybrid_focal_margin_loss import HybridFocalMarginLoss
from .rank_sort_loss import RankSortLoss
from .reg_loss import REGLoss

__all__ = [
    "APLoss",
    "FocalMarginLoss",
    "HybridFocalMarginLoss",
    "REGLoss",
    "RankSortLoss",
    "RankedLoss",
    "RankingLoss",
    "aLRPLoss",
]
