"""From what a head predicted to a dict of losses."""

import mmdet_rank._stack  # noqa: F401

from .balance import BALANCES, build_balance
from .instance_weights import INSTANCE_WEIGHTS
from .problem import BoxTask, MaskTask, RankingProblem
from .ranked_losses import RankedLosses
from .ranking_criterion import RankingCriterion, build_criterion
from .score_criterion import ScoreCriterion

__all__ = [
    "BALANCES",
    "INSTANCE_WEIGHTS",
    "BoxTask",
    "MaskTask",
    "RankedLosses",
    "RankingCriterion",
    "RankingProblem",
    "ScoreCriterion",
    "build_balance",
    "build_criterion",
]
