"""Boxes of a wanted IoU, RoIs of wanted classes and IoUs, and balanced sampling of them.

Chapter 4 of the thesis (K. Oksuz, B. C. Cam, E. Akbas, S. Kalkan, *Generating Positive Bounding
Boxes for Balanced Training of Object Detectors*, WACV 2020). Imports torch alone.
"""

from .boxes import corner_contour, generate_boxes, uniform_proposal
from .foreground_balance import foreground_balanced_weights, sample_foreground_balanced
from .rois import IOU_BASES, IOU_WEIGHTS, GeneratedRoIs, allocate_rois, generate_rois

__all__ = [
    "IOU_BASES",
    "IOU_WEIGHTS",
    "GeneratedRoIs",
    "allocate_rois",
    "corner_contour",
    "foreground_balanced_weights",
    "generate_boxes",
    "generate_rois",
    "sample_foreground_balanced",
    "uniform_proposal",
]
