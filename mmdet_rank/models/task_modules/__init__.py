"""Assigners, samplers and coders that MMDetection's heads lack."""

from .every_proposal_sampler import EveryProposalSampler
from .per_level_assigner import PerLevelAssigner

__all__ = ["EveryProposalSampler", "PerLevelAssigner"]
