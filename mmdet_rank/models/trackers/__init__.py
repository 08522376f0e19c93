"""Trackers that MMDetection lacks."""

from .rescoring_tracker import RescoringTracker

__all__ = ["RescoringTracker"]
