"""Handwritten digits in photographs: a small detection and instance segmentation data set.

Real handwriting (scikit-learn's 1,797 scans) pasted on real photographs (scikit-learn's two), in
COCO's format. It is made on the spot by ``tools/make_digits.py``, so that detectors can be trained,
evaluated and compared on any machine without a download.
"""
