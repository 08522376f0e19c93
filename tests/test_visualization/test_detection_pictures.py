"""Pictures of detections beside the ground truth."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from mmdet_rank.visualization.detection_pictures import (
    draw_detections,
    draw_sheet,
    save_picture,
)


@pytest.fixture
def truth(tmp_path):
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((60, 80, 3), 127, dtype=np.uint8))
    coco = COCO()
    coco.dataset = {
        "images": [{"id": 4, "file_name": "grey.png", "height": 60, "width": 80}],
        "categories": [{"id": 1, "name": "disc"}, {"id": 2, "name": "bar"}],
        "annotations": [
            {"id": 1, "image_id": 4, "category_id": 2, "bbox": [40, 20, 20, 30], "area": 600}
        ],
    }
    coco.createIndex()
    return coco


def draw(truth, folder, detections, **thresholds):
    return draw_detections(
        truth, detections, folder, [4], classes=("disc", "bar"), thresholds=thresholds, scale=3
    )[4]


def detection(score, category=1, image=4):
    return dict(image_id=image, category_id=category, bbox=[5, 10, 15, 20], score=score)


def test_ground_truth_stands_left_and_detections_right(truth, tmp_path):
    picture = draw(truth, tmp_path, [detection(0.9)], disc=0.5)
    assert picture.shape == (3 * 60, 2 * 3 * 80, 3)
    changed = (picture != 127).any(axis=2)
    left, right = changed[:, : 3 * 80], changed[:, 3 * 80 :]
    assert left[3 * 22 : 3 * 48, 3 * 38 : 3 * 62].any()
    assert not left[3 * 12 : 3 * 28, : 3 * 18].any()
    assert right[3 * 12 : 3 * 28, 3 * 3 : 3 * 22].any()
    assert not right[3 * 22 :, 3 * 45 :].any()


@pytest.mark.parametrize(
    ("hidden", "thresholds"),
    [
        (detection(0.4), dict(disc=0.5)),
        (detection(0.9), dict(bar=0.5)),
        (detection(0.9, image=5), dict(disc=0.5)),
    ],
)
def test_only_detections_that_reach_the_threshold_of_their_class_are_drawn(
    truth, tmp_path, hidden, thresholds
):
    picture = draw(truth, tmp_path, [hidden], **thresholds)
    assert (picture[:, 3 * 80 :] == 127).all()


def test_a_sheet_has_a_heading_and_keeps_the_pictures(tmp_path):
    pictures = [np.full((50, 200, 3), shade, dtype=np.uint8) for shade in (0, 100, 200)]
    sheet = draw_sheet(pictures, columns=2)
    heading = sheet.shape[0] - 2 * 50
    assert heading > 0
    assert sheet.shape[1] == 2 * 200 + 12
    assert (sheet[heading : heading + 50, 212:] == 100).all()
    assert (sheet[heading + 50 :, :200] == 200).all()
    assert (sheet[heading + 50 :, 212:] == 255).all()
    save_picture(tmp_path / "new" / "sheet.png", sheet)
    written = cv2.imread(str(tmp_path / "new" / "sheet.png"))
    np.testing.assert_array_equal(written[..., ::-1], sheet)
    with pytest.raises(ValueError, match="of one size"):
        draw_sheet([pictures[0], pictures[1][:20]])
    with pytest.raises(ValueError, match="got none"):
        draw_sheet([])


def test_a_missing_image_is_an_error(truth, tmp_path):
    (tmp_path / "grey.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"grey\.png cannot be read"):
        draw(truth, tmp_path, [])
