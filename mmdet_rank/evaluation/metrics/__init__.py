"""LRP Error as metrics of MMDetection's registry."""

import mmdet_rank._stack  # noqa: F401

from .coco_lrp_metric import CocoLRPMetric
from .lvis_lrp_metric import LVISLRPMetric
from .panoptic_lrp_metric import PanopticLRPMetric

__all__ = ["CocoLRPMetric", "LVISLRPMetric", "PanopticLRPMetric"]
