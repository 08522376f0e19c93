"""Registered ranking losses: options and reduction over the functions of `mmdet_rank.ops`."""

from .alrp_loss import aLRPLoss
from .ap_loss import APLoss
from .base import RankedLoss, RankingLoss
from .rank_sort_loss import RankSortLoss

__all__ = ["APLoss", "RankSortLoss", "RankedLoss", "RankingLoss", "aLRPLoss"]
