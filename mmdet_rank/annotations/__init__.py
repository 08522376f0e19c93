"""Annotation files: the one reader and checker, and turning other forms into COCO.

``read_coco`` serves training, validation and evaluation alike. It knows the type, range and
reference of every field, so that a fault is found before a run begins, whatever tool wrote the
file. It needs NumPy and pycocotools, neither PyTorch nor MMDetection.
"""

from .coco import IOU_TYPES, check_coco
from .found import CocoAnnotations
from .reading import forget_files, read_categories, read_coco, write_coco
from .results import CocoResults, check_results

__all__ = [
    "IOU_TYPES",
    "CocoAnnotations",
    "CocoResults",
    "check_coco",
    "check_results",
    "forget_files",
    "read_categories",
    "read_coco",
    "write_coco",
]
