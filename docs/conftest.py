"""Runs the examples of the documents with the package registered."""

import mmdet_rank.register  # noqa: F401
