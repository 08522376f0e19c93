"""Assigners and coders that MMDetection's heads lack."""

from .per_level_assigner import PerLevelAssigner

__all__ = ["PerLevelAssigner"]
