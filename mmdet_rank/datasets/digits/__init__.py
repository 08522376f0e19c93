"""Handwritten digits in photographs: a small detection and instance segmentation data set.

Real handwriting (scikit-learn's 1,797 scans) pasted on real photographs (scikit-learn's two), in
COCO's format. It is made on the spot by ``tools/make_digits.py``, so that detectors can be trained,
evaluated and compared on any machine without a download.
"""

from mmdet_rank.datasets.digits.build import DigitsReport, build_digits
from mmdet_rank.datasets.digits.metainfo import METAINFO
from mmdet_rank.datasets.digits.options import DigitsOptions

__all__ = ["METAINFO", "DigitsOptions", "DigitsReport", "build_digits"]
