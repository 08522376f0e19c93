"""Hooks and wrappers for training."""

import mmdet_rank._stack  # noqa: F401

from mmdet_rank.engine.bfloat16_optim_wrapper import BFloat16OptimWrapper
from mmdet_rank.engine.class_counts_hook import ClassCountsHook
from mmdet_rank.engine.folder_visualization_hook import FolderVisualizationHook
from mmdet_rank.engine.gradient_balance_hook import GradientBalanceHook
from mmdet_rank.engine.iteration_seed_hook import IterationSeedHook
from mmdet_rank.engine.lrp_threshold_hook import LRPThresholdHook
from mmdet_rank.engine.missed_validation_hook import MissedValidationHook
from mmdet_rank.engine.positives_hook import PositivesHook
from mmdet_rank.engine.ranking_diagnostics_hook import RankingDiagnosticsHook
from mmdet_rank.engine.resumable_runner import ResumableRunner
from mmdet_rank.engine.self_balance_hook import SelfBalanceHook

__all__ = [
    "BFloat16OptimWrapper",
    "ClassCountsHook",
    "FolderVisualizationHook",
    "GradientBalanceHook",
    "IterationSeedHook",
    "LRPThresholdHook",
    "MissedValidationHook",
    "PositivesHook",
    "RankingDiagnosticsHook",
    "ResumableRunner",
    "SelfBalanceHook",
]
