"""LRP Error as metrics of MMDetection's registry."""

from .coco_lrp_metric import CocoLRPMetric
from .lvis_lrp_metric import LVISLRPMetric
from .panoptic_lrp_metric import PanopticLRPMetric

__all__ = ["CocoLRPMetric", "LVISLRPMetric", "PanopticLRPMetric"]
