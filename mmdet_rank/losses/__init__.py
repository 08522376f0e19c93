"""Registered losses: options and reduction over the functions of `mmdet_rank.ops`."""

import mmdet_rank._stack  # noqa: F401

from .alrp_by_definition import aLRPLossByDefinition
from .alrp_loss import aLRPLoss
from .ap_loss import APLoss
from .base import RankedLoss, RankingLoss
from .complete_iou_loss import CompleteIoULoss
from .dice_loss import BCEDiceLoss, BinaryDiceLoss, SquaredDiceLoss
from .focal_margin_loss import (
    AsymmetricFocalLoss,
    BinaryFocalLoss,
    FocalMarginLoss,
    LargeMarginLoss,
)
from .hybrid_focal_margin_loss import HybridFocalLoss, HybridFocalMarginLoss
from .mask_loss import ElementLoss, MaskLoss
from .mean_iou_loss import MeanIoULoss
from .rank_sort_loss import RankSortLoss
from .reg_loss import REGLoss
from .tversky_loss import BinaryTverskyLoss, FocalTverskyLoss
from .unified_focal_loss import UnifiedFocalLoss

__all__ = [
    "APLoss",
    "AsymmetricFocalLoss",
    "BCEDiceLoss",
    "BinaryDiceLoss",
    "BinaryFocalLoss",
    "BinaryTverskyLoss",
    "CompleteIoULoss",
    "ElementLoss",
    "FocalMarginLoss",
    "FocalTverskyLoss",
    "HybridFocalLoss",
    "HybridFocalMarginLoss",
    "LargeMarginLoss",
    "MaskLoss",
    "MeanIoULoss",
    "REGLoss",
    "RankSortLoss",
    "RankedLoss",
    "RankingLoss",
    "SquaredDiceLoss",
    "UnifiedFocalLoss",
    "aLRPLoss",
    "aLRPLossByDefinition",
]
