"""Backbones that MMDetection does not have."""

from .efficientnet_lite0 import WEIGHTS, EfficientNetLite0

__all__ = ["WEIGHTS", "EfficientNetLite0"]
