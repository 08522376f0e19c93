"""Matching of panoptic segments, pixel by pixel."""

import numpy as np
import pytest

from mmdet_rank.evaluation.panoptic import panoptic_counts

ORDER = {1: 0, 2: 1}


def counts(gt, dt, gt_segments, dt_segments, **options):
    """Counts of rows of pixels; segments are pairs of id and category, or triples with a crowd."""
    gt_segments, dt_segments = (
        [dict(zip(("id", "category_id", "iscrowd"), each, strict=False)) for each in segments]
        for segments in (gt_segments, dt_segments)
    )
    maps = (np.array([row], dtype=np.int64) for row in (gt, dt))
    gt_map, dt_map = maps
    return panoptic_counts(gt_map, gt_segments, dt_map, dt_segments, ORDER, **options).tolist()


@pytest.mark.parametrize(("void", "false_positives"), [(3, 1), (4, 1), (5, 0), (8, 0)])
def test_a_prediction_half_on_void_is_a_false_positive(void, false_positives):
    # Of its 8 pixels so many are void, the others lie on an object of another category.
    gt = [0] * void + [7] * (12 - void)
    dt = [5] * 8 + [0] * 4
    found = counts(gt, dt, [(7, 2)], [(5, 1)])
    assert found == [[0, false_positives, 0, 0], [0, 0, 1, 0]]


@pytest.mark.parametrize(("crowd", "false_positives"), [(4, 1), (5, 0)])
def test_a_prediction_half_on_a_crowd_of_its_category_is_a_false_positive(crowd, false_positives):
    gt = [9] * crowd + [7] * (12 - crowd)
    dt = [5] * 8 + [0] * 4
    found = counts(gt, dt, [(7, 2), (9, 1, 1)], [(5, 1)])
    assert found == [[0, false_positives, 0, 0], [0, 0, 1, 0]]
    # Of another category it is not an excuse.
    assert counts(gt, dt, [(7, 2), (9, 2, 1)], [(5, 1)])[0] == [0, 1, 0, 0]


def test_void_is_in_no_union_and_a_match_is_above_tau():
    # 6 pixels in common, of 10 when 2 void ones are left out.
    gt = [7] * 8 + [0] * 2 + [7, 7]
    dt = [5] * 6 + [0] * 2 + [5] * 2 + [0, 0]
    assert counts(gt, dt, [(7, 1)], [(5, 1)])[0] == [1, 0, 0, pytest.approx(0.6)]
    assert counts(gt, dt, [(7, 1)], [(5, 1)], tau=0.59)[0][:3] == [1, 0, 0]
    assert counts(gt, dt, [(7, 1)], [(5, 1)], tau=0.6)[0] == [0, 1, 1, 0]
