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
        ValueError, match=r"in detection 1 .*'wolf' \(category_id 0\), whose name none of them has"
    ):
        check_results(other, truth)
    del other["categories"][0]
    with pytest.raises(
        ValueError, match=r"name of a category in detection 1 .*category_id 0 alone"
    ):
        check_results(other, truth)
    other["categories"].append({"id": 0})
    with pytest.raises(
        ValueError, match=r"name of a category in detection 1 .*category_id 0 alone"
    ):
        check_results(other, truth)
    other["categories"][-1]["name"] = "dog"
    # 1 is an image of the ground truth, and another one.
    other["images"][1]["file_name"] = "c.jpg"
    with pytest.raises(ValueError, match=r"in detection 2 .*but got 'c.jpg', which no image has"):
        check_results(other, truth)
    # So it is where the picture of no detection has a name that is known.
    other["annotations"] = [entry for entry in other["annotations"] if entry["image_id"] == 1]
    with pytest.raises(ValueError, match=r"in detection 0 .*but got 'c.jpg', which no image has"):
        check_results(other, truth)


def as_a_data_set(numbers):
    """The detections, of images that have the numbers and names given for their ids."""
    found = detections()
    for entry in found:
        entry["image_id"] = numbers[entry["image_id"]][0]
    images = [{"id": number, "file_name": name} for number, name in numbers.values()]
    return {"images": images, "annotations": found}


def test_the_paths_of_a_data_set_may_begin_in_another_folder():
    truth = sound_file()
    expected = check_results(detections(), truth)
    exported = as_a_data_set({1: (5, "data/a.jpg"), 5: (1, "data\\b.jpg")})
    assert check_results(exported, truth) == expected
    truth["images"][0]["file_name"] = "pictures/a.jpg"
    assert check_results(as_a_data_set({1: (5, "a.jpg"), 5: (1, "b.jpg")}), truth) == expected
    with pytest.raises(ValueError, match=r"in detection 0 .*'data/a.jpg', which no image has"):
        check_results(exported, truth)
    # Names that nothing but the folder tells apart.
    truth["images"][1]["file_name"] = "a.jpg"
    with pytest.raises(ValueError, match=r"in detection 0 .*'a.jpg', which several images have"):
        check_results(as_a_data_set({1: (5, "a.jpg"), 5: (1, "b.jpg")}), truth)
    whole = as_a_data_set({1: (5, "pictures/a.jpg"), 5: (1, "a.jpg")})
    assert check_results(whole, truth) == expected


def with_names(*names):
    """The detections, with the name of a category each; None for no name."""
    return [
        entry if name is None else entry | {"category": name}
        for entry, name in zip(detections(), names, strict=True)
    ]


def test_detections_go_by_the_names_of_their_categories():
    """The ground truth has cat 2 and dog 7; detectors number by the alphabet, from 1."""
    truth = sound_file()
    expected = check_results(detections(), truth)
    named = with_names("cat", "dog", "cat", "dog")
    assert check_results(named, truth) == expected
    for number in (1, 7):
        swapped = [e | {"category_id": {2: number, 7: 2}[e["category_id"]]} for e in named]
        assert check_results(swapped, truth) == expected
        # Without such a list, the form of a data set goes by them too.
        assert check_results({"annotations": swapped}, truth) == expected
    truth["categories"] = [{"id": "c", "name": "cat"}, {"id": "d", "name": "dog"}]
    ids = [entry["category_id"] for entry in check_results(named, truth).detections]
    assert ids == ["c", "d", "c", "d"]


@pytest.mark.parametrize("names", [("cat", "wolf", "cat", "dog"), ("fox", "wolf", "fox", "wolf")])
def test_a_category_that_the_ground_truth_lacks_is_not_taken_for_another(names):
    """Detections of more classes, whose numbers are those of other classes there."""
    index = names.index("wolf") if "cat" in names else 0
    with pytest.raises(ValueError, match="where the ids are right, leave the names out") as error:
        check_results(with_names(*names), sound_file(), source="dt.json")
    assert str(error.value).startswith(
        f"Expected a category of the ground truth in detection {index} of dt.json, but got "
        f"{names[index]!r} (category_id {(2, 7)[index]}), whose name none of them has; map the"
    )
    listed = [{"id": 2, "name": names[0]}, {"id": 7, "name": names[1]}]
    with pytest.raises(ValueError, match=f"but got '{names[index]}' \\(category_id"):
        check_results({"annotations": detections(), "categories": listed}, sound_file())


def test_names_of_categories_that_agree_with_the_numbers():
    truth = sound_file()
    expected = check_results(detections(), truth)
    assert check_results(with_names("Cat", "dog", "cat ", "DOG"), truth) == expected
    # Some without a name, or with something else in its place.
    assert check_results(with_names(None, "dog", "cat", None), truth) == expected
    assert check_results(with_names(3, "dog", "cat", {}), truth) == expected
    with pytest.raises(
        ValueError, match=r"name of a category in detection 0 .*category_id 2 alone"
    ):
        check_results(with_names(None, "cat", "dog", "cat"), truth)
    with pytest.raises(ValueError, match=r"but got 'Dog' \(category_id 2\)"):
        check_results(with_names("Dog", "Cat", "Dog", "Cat"), truth)


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


def test_where_no_picture_is_known_by_name_the_numbers_count_and_a_hint_says_so():
    truth = sound_file()
    expected = check_results(detections(), truth)
    names = {1: "a.png", 5: "b.png"}
    others = [entry | {"file_name": names[entry["image_id"]]} for entry in detections()]
    listed = as_a_data_set({1: (1, "a.png"), 5: (5, "b.png")})
    for results in (others, listed):
        found = check_results(results, truth)
        assert found.detections == expected.detections
        assert found.hints == [
            "None of its pictures, such as 'a.png', has the name of one of the ground truth, such "
            "as 'a.jpg'; image_id was taken for the ground truth's id: check that it is."
        ]
    # Where the ground truth has no names, these contradict nothing.
    for image in truth["images"]:
        del image["file_name"]
    assert check_results(others, truth) == check_results(listed, truth) == expected
    with pytest.raises(ValueError, match="Expected as image_id one of the ground truth's in"):
        check_results([others[0] | {"image_id": 3}], truth)


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
    with pytest.raises(ValueError, match=r"in detection 1 .*but got image_id 5 without a name; "):
        check_results([both[0], both[1] | {"image_id": 5}], truth)
    assert len(check_results(both[::-1], truth).detections) == 2
    for entry, name in zip(both, ("x.jpg", "y.jpg"), strict=True):
        entry["file_name"] = name
    assert len(check_results(both, truth).detections) == 2
