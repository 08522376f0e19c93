"""Images without objects of a category are skipped, and all that pycocotools finds is found."""

import numpy as np
import pytest
from drawn_coco_files import draw_files
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmdet_rank.evaluation.skipping import SkippingCOCOeval


def run(kind, truth, results, iou_type, use_cats):
    coco = COCO()
    coco.dataset = truth
    coco.createIndex()
    evaluation = kind(coco, coco.loadRes([dict(result) for result in results]), iou_type)
    evaluation.params.useCats = use_cats
    evaluation.params.maxDets = [3, 40]
    evaluation.evaluate()
    evaluation.accumulate()
    return evaluation


@pytest.mark.parametrize(
    ("iou_type", "use_cats"), [("bbox", 1), ("bbox", 0), ("segm", 1), ("keypoints", 1)]
)
def test_what_is_found_is_what_pycocotools_finds(iou_type, use_cats):
    skipped = 0
    for seed in range(4):
        truth, results = draw_files(seed, iou_type)
        if not results:
            continue
        kinds = SkippingCOCOeval, COCOeval
        actual, expected = (run(kind, truth, results, iou_type, use_cats) for kind in kinds)
        assert len(actual.evalImgs) == len(expected.evalImgs)
        for mine, theirs in zip(actual.evalImgs, expected.evalImgs, strict=True):
            assert (mine is None) == (theirs is None)
            if theirs is None:
                continue
            assert mine.keys() == theirs.keys()
            for key, value in theirs.items():
                np.testing.assert_array_equal(mine[key], value, err_msg=key)
                assert np.asarray(mine[key]).shape == np.asarray(value).shape
            skipped += not theirs["gtIds"]
        for key in ("precision", "recall", "scores"):
            np.testing.assert_array_equal(actual.eval[key], expected.eval[key])
    assert skipped > 0
