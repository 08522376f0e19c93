"""Results of detectors, in COCO's form and in that of a data set."""

import pytest
from coco_files import sound_file

from mmdet_rank.annotations import check_results
from mmdet_rank.annotations.panoptic import check_panoptic


def detections():
    keys = ("image_id", "category_id", "bbox", "segmentation")
    return [
        {key: entry[key] for key in keys} | {"score": 0.9 - index / 10}
        for index, entry in enumerate(sound_file()["annotations"])
    ]


def test_the_form_of_a_data_set_goes_by_names():
    """Its own ids mean the images and categories of the same names, not of the same ids."""
    truth = sound_file()
    expected = check_results(detections(), truth).detections
    assert check_results({"annotations": detections()}, truth).detections == expected
    other = {
        "images": [{"id": 5, "file_name": "a.jpg"}, {"id": 1, "file_name": "b.jpg"}],
        "categories": [{"id": 0, "name": "dog"}, {"id": 1, "name": "cat"}],
        "annotations": detections(),
    }
    for entry in other["annotations"]:
        entry["image_id"] = {1: 5, 5: 1}[entry["image_id"]]
        entry["category_id"] = {2: 1, 7: 0}[entry["category_id"]]
    assert check_results(other, truth).detections == expected
    other["categories"][0]["name"] = "wolf"
    # 0 is no category of the ground truth.
    with pytest.raises(
        ValueError, match="but got 0, whose name none of them has; map the detector"
    ):
        check_results(other, truth)
    other["categories"][0]["name"] = "dog"
    # 1 is an image of the ground truth, and another one.
    other["images"][1]["file_name"] = "c.jpg"
    with pytest.raises(ValueError, match="but got 1, whose file_name none of them has; check that"):
        check_results(other, truth)


def test_predictions_on_a_folder_go_by_the_names_of_its_pictures():
    truth = sound_file()
    truth["images"][0]["file_name"] = "train/a.jpg"
    expected = check_results(detections(), truth).detections
    # Images 1 and 5 of the ground truth are the second and the first of the folder.
    numbers = {1: (2, "a.jpg"), 5: (1, "pictures\\b.jpg")}
    predicted = detections()
    for entry in predicted:
        entry["image_id"], entry["file_name"] = numbers[entry["image_id"]]
    assert check_results(predicted, truth).detections == expected
    predicted[-1] |= {"image_id": 3, "file_name": "c.jpg"}
    with pytest.raises(ValueError, match=r"in detection 3 .*but got 'c.jpg', which no image has"):
        check_results(predicted, truth)
    truth["images"][1]["file_name"] = "val/a.jpg"
    ambiguous = [entry for entry in predicted if entry["image_id"] == 2]
    with pytest.raises(ValueError, match=r"but got 'a.jpg', which several images have"):
        check_results(ambiguous, truth)
    # Names that nothing has say nothing.
    others = [entry | {"file_name": "elsewhere.png"} for entry in detections()]
    assert check_results(others, truth).detections == expected


def test_hints_of_corners_and_fractions():
    truth = sound_file()
    assert check_results(detections(), truth).hints == []
    corners = [[30, 20, 38, 29], [20, 5, 31, 25], [35, 45, 50, 60], [3, 40, 18, 49]]
    for boxes, words in (
        (corners, "4 boxes of the results look like corners"),
        ([[0.1, 0.2, 0.5, 0.5]] * 4, "4 boxes of the results look like fractions"),
    ):
        results = [{**d, "bbox": box} for d, box in zip(detections(), boxes, strict=True)]
        (hint,) = check_results(results, truth).hints
        assert words in hint


def panoptic(**changes):
    entry = {"image_id": 1, "file_name": "a.png", "segments_info": [{"id": 3, "category_id": 7}]}
    return {
        "images": [],
        "categories": [{"id": 7, "name": "sky", "isthing": "0"}],
        "annotations": [{**entry, **changes}, {**entry, "image_id": 2}],
    }


def test_panoptic_fields():
    found = check_panoptic(panoptic(image_id=1.0), "p.json")
    assert found.categories == [{"id": 7, "name": "sky", "isthing": 0}]
    assert list(found.images) == [1, 2]
    assert found.images[1]["segments_info"] == [{"id": 3, "category_id": 7, "iscrowd": 0}]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"image_id": 2}, "image 2 is listed twice, in annotation 0 and in annotation 1"),
        ({"image_id": [1]}, "an id as image_id in annotation 0"),
        ({"file_name": None}, "a text as file_name in annotation 0"),
        ({"segments_info": None}, "a list as segments_info in annotation 0"),
        ({"segments_info": [3]}, "in segment 0 of annotation 0"),
        ({"segments_info": [{"id": 1, "category_id": [7]}]}, "category_id in segment 0"),
        ({"segments_info": [{"id": "1", "category_id": 7}]}, "in segment 0 of annotation 0"),
        ({"segments_info": [{"id": 1, "category_id": 7, "iscrowd": "no"}]}, "iscrowd in segment 0"),
        ({"segments_info": [{"id": 1, "category_id": 7}] * 2}, "1 twice in segment 1"),
    ],
)
def test_panoptic_entries_that_are_refused(changes, words):
    with pytest.raises(ValueError, match="Expected") as error:
        check_panoptic(panoptic(**changes), "p.json")
    assert words in str(error.value)
    assert "p.json" in str(error.value)


def test_predictions_of_two_runs_in_one_list_are_refused():
    truth = sound_file()
    truth["images"][0]["file_name"], truth["images"][1]["file_name"] = "a.jpg", "b.jpg"
    one, other = detections()[0], detections()[-1]
    both = [
        one | {"image_id": 1, "file_name": "a.jpg"},
        other | {"image_id": 1, "file_name": "b.jpg"},
    ]
    with pytest.raises(
        ValueError, match=r"got 1 for 'a.jpg' and for 'b.jpg'; evaluate predictions"
    ):
        check_results(both, truth)
    # Names that some entries lack, or that nothing has, say nothing.
    del both[1]["file_name"]
    assert len(check_results(both, truth).detections) == 2
    for entry, name in zip(both, ("x.jpg", "y.jpg"), strict=True):
        entry["file_name"] = name
    assert len(check_results(both, truth).detections) == 2
