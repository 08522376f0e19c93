"""Assigners, samplers and coders that MMDetection's heads lack."""

from .every_proposal_sampler import EveryProposalSampler
from .generated_positives_sampler import GeneratedPositivesSampler
from .inside_task_aligned_assigner import CompleteIoU2D, InsideTaskAlignedAssigner
from .online_foreground_balanced_sampler import OnlineForegroundBalancedSampler
from .per_level_assigner import PerLevelAssigner

__all__ = [
    "CompleteIoU2D",
    "EveryProposalSampler",
    "GeneratedPositivesSampler",
    "InsideTaskAlignedAssigner",
    "OnlineForegroundBalancedSampler",
    "PerLevelAssigner",
]
