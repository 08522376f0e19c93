"""Assigners, samplers and coders that MMDetection's heads lack."""

from .every_proposal_sampler import EveryProposalSampler
from .generated_positives_sampler import GeneratedPositivesSampler
from .online_foreground_balanced_sampler import OnlineForegroundBalancedSampler
from .per_level_assigner import PerLevelAssigner

__all__ = [
    "EveryProposalSampler",
    "GeneratedPositivesSampler",
    "OnlineForegroundBalancedSampler",
    "PerLevelAssigner",
]
