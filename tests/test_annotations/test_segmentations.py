"""Run lengths and polygons, before pycocotools sees them."""

import numpy as np
import pytest
from pycocotools import mask as mask_utils

from mmdet_rank.annotations.segmentations import (
    MaskFault,
    all_polygons_sound,
    plain_run_lengths_add_up,
    run_lengths_add_up,
    sound_polygons,
)


def encoded(rng, number):
    """Compressed run lengths of random masks, and their sizes."""
    texts, totals = [], []
    for index in range(number):
        height, width = rng.integers(1, 60, 2)
        mask = rng.random((height, width)) < rng.choice([0, 0.02, 0.5, 1])
        if index % 3 == 0:  # long runs, which take several characters
            mask = mask.repeat(30, axis=0).repeat(20, axis=1)
        counts = mask_utils.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
        texts.append(counts.decode() if index % 2 else counts)
        totals.append(mask.size)
    return texts, totals


def slowly(text, total):
    """The check as pycocotools decodes, number by number."""
    numbers, place = [], 0
    while place < len(text):
        value = digit = 0
        more = True
        while more:
            if place >= len(text) or digit > 6 or not 0 <= text[place] - 48 < 64:
                return False
            code = text[place] - 48
            value |= (code & 31) << 5 * digit
            more = bool(code & 32)
            place, digit = place + 1, digit + 1
            if not more and code & 16:
                value -= 1 << 5 * digit
        if len(numbers) > 2:
            value += numbers[-2]
        if value < 0:
            return False
        numbers.append(value)
    return bool(numbers) and sum(numbers) == total


def test_what_pycocotools_writes_adds_up():
    texts, totals = encoded(np.random.default_rng(0), 300)
    assert run_lengths_add_up(texts, totals).all()
    assert not run_lengths_add_up(texts, [total + 1 for total in totals]).any()


@pytest.mark.parametrize("chunk", [40, 1_000_000])
def test_damaged_run_lengths_are_told_from_sound_ones(chunk, monkeypatch):
    monkeypatch.setattr("mmdet_rank.annotations.segmentations._CHUNK", chunk)
    rng = np.random.default_rng(1)
    texts, totals = encoded(rng, 600)
    damaged = []
    for text in texts:
        characters = bytearray(text.encode() if isinstance(text, str) else text)
        if rng.random() < 0.7:
            characters[rng.integers(len(characters))] = rng.integers(40, 120)
        if rng.random() < 0.2:
            del characters[rng.integers(len(characters)) :]
        damaged.append(bytes(characters))
    expected = [slowly(*pair) for pair in zip(damaged, totals, strict=True)]
    assert 0.1 < np.mean(expected) < 0.5
    np.testing.assert_array_equal(run_lengths_add_up(damaged, totals), expected)


def test_texts_that_are_no_run_lengths():
    texts = ["", "é", "k", "~~~~~~~~~~~~", "kc0d0:00000000000000000Y8", "o" * 9]
    assert run_lengths_add_up(texts, [0, 1, 1, 1200, 1200, 1]).tolist() == [False] * 4 + [
        True,
        False,
    ]
    assert run_lengths_add_up([], []).tolist() == []


def test_plain_run_lengths():
    assert plain_run_lengths_add_up([0, 3, 9], 12)
    assert plain_run_lengths_add_up([1.0, 3.0], 4)
    for wrong in ([3, 8], [15, -3], [1.5, 10.5], ["3", 9], [True, 11], [float("nan")], None, "12"):
        assert not plain_run_lengths_add_up(wrong, 12)


def test_polygons():
    whole, flat = [0, 0, 9, 0, 9, 9], [1, 1, 2, 2]
    assert sound_polygons([whole, flat, [*whole, 3], [*whole, float("nan"), 1]]) == ([whole], 3)
    assert sound_polygons([[*whole[:4], 1e7, 0]]) == ([], 1)
    assert sound_polygons([[]]) == ([], 1)
    for wrong in (whole, [["0"] * 6], [[None] * 6], [{"counts": 1}], [[True] * 6]):
        with pytest.raises(MaskFault):
            sound_polygons(wrong)


@pytest.mark.parametrize(
    ("mask", "sound"),
    [
        ([[0, 0, 9, 0, 9, 9]], True),
        ([[0, 0, 9, 0, 9, 9], [1, 1, 2, 2]], False),
        ([[0, 0, 9, 0, 9, 9, 9]], False),
        ([[0, 0, 9, 0, 9, "9"]], False),
        ([[0, 0, 9, 0, 9, None]], False),
        ([[0, 0, 9, 0, 9, float("nan")]], False),
        ([[0, 0, 9, 0, 9, float("-inf")]], False),
        ([[0, 0, 9, 0, 9, -1e7]], False),
        ([[0, 0, 9, 0, 9, 10**400]], False),
        ([0, 0, 9, 0, 9, 9], False),
        ([], False),
        (None, False),
        ({"counts": []}, False),
    ],
)
def test_many_polygons_are_looked_at_as_a_whole(mask, sound):
    good = [[[0.5, 0, 9, 0, 9, 9]], [[1, 2, 3, 4, 5, 6.5], [0, 0, 9, 0, 9, 9, 0, 9]]]
    assert all_polygons_sound([*good, mask]) is sound
    assert all_polygons_sound([])
