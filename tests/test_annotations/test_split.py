"""The draw of a split: rare classes, and pictures with objects."""

import pytest

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
