"""Backbones that MMDetection does not have."""

from .efficientnet_lite0 import WEIGHTS, EfficientNetLite0
from .yolov8_csp_darknet import YOLOv8CSPDarknet

__all__ = ["WEIGHTS", "EfficientNetLite0", "YOLOv8CSPDarknet"]
