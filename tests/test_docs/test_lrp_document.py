"""docs/lrp.md shows what its example prints, and pictures that are there."""

import re
import runpy
from pathlib import Path

from matplotlib.image import imread

from mmdet_rank.evaluation.coco import evaluate_coco
from mmdet_rank.evaluation.report import comparison_table

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_table_of_the_example():
    example = runpy.run_path(str(DOCS / "lrp_example.py"))
    truth, detectors = example["three_detectors"]()
    reports = {name: evaluate_coco(truth, dt).report() for name, dt in detectors.items()}
    assert comparison_table(reports) in (DOCS / "lrp.md").read_text()


def test_pictures():
    paths = re.findall(r"!\[.*?\]\((img/.*?)\)", (DOCS / "lrp.md").read_text())
    assert len(paths) == 3
    for path in paths:
        assert (DOCS / path).stat().st_size < 150_000
        assert imread(DOCS / path).ndim == 3
