"""The draw of a split: rare classes, pictures with objects, and objects to be ignored."""

import labelled_data
import pytest

from mmdet_rank.annotations.conversion import convert_data
from mmdet_rank.annotations.records import Labelled, Picture
from mmdet_rank.annotations.split import split_pictures


@pytest.mark.parametrize(
    ("numbers", "share", "taken"),
    # Of classes with few pictures, as many as the share of all pictures, but ten at any rate.
    [
        ([2] * 3, 0.2, 3),
        ([2] * 500, 0.2, 200),
        ([3] * 500, 0.05, 75),
        ([2] * 30, 0.1, 10),
        ([10] * 4, 0.2, 8),
        ([48] * 20 + [2] * 30, 0.2, 20 * 10 + 30),
        ([100] * 10 + [8] * 40, 0.05, 10 * 5 + 40),
    ],
)
def test_many_rare_classes_do_not_take_more_than_the_share(tmp_path, numbers, share, taken):
    pictures = [
        Picture(tmp_path / f"{name}_{i}.jpg", 9, 9, [Labelled(f"c{name}", (0, 0, 5, 5))])
        for name, number in enumerate(numbers)
        for i in range(number)
    ]
    stay, away = split_pictures(pictures, share, 0)
    assert (len(stay), len(away)) == (sum(numbers) - taken, taken)
    assert {p.objects[0].category for p in away} <= {p.objects[0].category for p in stay}


def test_what_is_taken_has_an_object(tmp_path):
    labelled = [
        Picture(tmp_path / f"{name}.jpg", 9, 9, [Labelled(name, (0, 0, 5, 5))]) for name in "abc"
    ]
    empty = [Picture(tmp_path / f"{number}.jpg", 9, 9) for number in range(5)]
    for seed in range(3):
        _, away = split_pictures([*labelled, *empty], 0.2, seed)
        assert sorted(len(picture.objects) for picture in away) == [0, 1]


def ignored(name):
    return Labelled(name, (0, 0, 5, 5), ignored=True)


def test_what_is_taken_has_an_object_that_is_not_ignored(tmp_path):
    """Pictures with nothing else are drawn as those without objects, whatever their class."""
    objects = [Labelled("cat", (0, 0, 5, 5))]
    for seed in range(20):
        for empty in ([], [ignored("cat")], [ignored("dog")]):
            pictures = [Picture(tmp_path / f"{n}.jpg", 9, 9, list(objects)) for n in range(6)]
            others = [Picture(tmp_path / f"x{n}.jpg", 9, 9, list(empty)) for n in range(2)]
            _, away = split_pictures([*pictures, *others], 0.2, seed)
            names = [picture.file.stem for picture in away]
            assert sum(picture in pictures for picture in away) == 1
            if not empty:
                expected = names
            assert names == expected


def test_ignored_objects_make_no_class_more_frequent(tmp_path):
    """Of two classes in a picture the rarer decides its group, by the objects that count."""

    def pictures(others):
        both = [Labelled("a", (0, 0, 5, 5)), Labelled("b", (0, 0, 5, 5))]
        first = [Picture(tmp_path / f"{n}.jpg", 9, 9, list(both)) for n in range(8)]
        second = [
            Picture(tmp_path / f"a{n}.jpg", 9, 9, [Labelled("a", (0, 0, 5, 5)), *others])
            for n in range(8)
        ]
        return first + second

    for seed in range(5):
        plain, more = (
            [p.file.stem for p in split_pictures(pictures(others), 0.25, seed)[1]]
            for others in ([], [ignored("b")] * 3)
        )
        assert more == plain
        assert len(plain) == 4


def test_a_validation_set_of_voc_is_not_of_difficult_objects_alone(tmp_path):
    root = tmp_path / "data"
    labelled_data.write_pictures(root, list("abcd"))
    for name, objects in labelled_data.OBJECTS.items():
        difficult = {"difficult": 1} if name in "ab" else {}
        if name != "e":
            rings = [("ring", *corners) for _, *corners in objects]
            (root / f"{name}.xml").write_text(labelled_data.voc_xml(name, rings, **difficult))
    for seed in range(8):
        found = convert_data(root, tmp_path / f"out{seed}", seed=seed, val_share=0.25).data
        assert found.count("val")["ring"] > 0
        assert found.count("train")["ring"] > 0
