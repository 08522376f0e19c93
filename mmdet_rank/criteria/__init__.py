"""From what a head predicted to a dict of losses."""

from .balance import BALANCES, build_balance
from .instance_weights import INSTANCE_WEIGHTS
from .problem import BoxTask, RankingProblem
from .ranking_criterion import RankingCriterion, build_criterion

__all__ = [
    "BALANCES",
    "INSTANCE_WEIGHTS",
    "BoxTask",
    "RankingCriterion",
    "RankingProblem",
    "build_balance",
    "build_criterion",
]
