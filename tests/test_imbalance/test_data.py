"""Measures of a data set against counting by hand."""

import math

import numpy as np
import pytest
from mmengine.dataset import BaseDataset, ClassBalancedDataset

from mmdet_rank.imbalance import Objects, find_imbalance, measure_data, repeat_factors


def make_objects():
    """Five images: one with a crowd alone, one without anything; three classes, one without any."""
    sizes = [(100, 50), (200, 100), (100, 100), (100, 100), (80, 80)]
    boxes = [
        (0, 0, [40, 10, 20, 30]),
        (0, 0, [45, 20, 10, 10]),
        (0, 2, [0, 0, 50, 10]),
        (1, 0, [90, 40, 20, 20]),
        (2, 0, [10, 10, 80, 80]),
    ]
    dataset = {
        "images": [{"id": 10 + i, "width": w, "height": h} for i, (w, h) in enumerate(sizes)],
        "categories": [{"id": 5, "name": "a"}, {"id": 3, "name": "b"}, {"id": 9, "name": "c"}],
        "annotations": [
            {"image_id": 10 + image, "category_id": (5, 3, 9)[label], "bbox": box}
            for image, label, box in boxes
        ]
        + [{"image_id": 13, "category_id": 3, "bbox": [0, 0, 9, 9], "iscrowd": 1}],
    }
    return Objects.from_coco(dataset)


def test_counts():
    report = measure_data(make_objects(), batch_size=2, oversample_thr=0.8)
    assert (report["num_images"], report["num_objects"]) == (5, 5)
    assert {n: (v["objects"], v["images"]) for n, v in report["per_class"].items()} == {
        "a": (4, 3),
        "b": (0, 0),
        "c": (1, 1),
    }
    classes = report["classes"]
    assert classes["imbalance_ratio"] == 4
    assert classes["mean_objects"] == 2.5
    assert classes["share_below_mean"] == 0.5
    assert classes["without_objects"] == ["b"]
    entropy = -(0.8 * math.log(0.8) + 0.2 * math.log(0.2))
    assert classes["effective_number"] == pytest.approx(math.exp(entropy))
    # a: f = 3/5, r = sqrt(0.8 / 0.6) -> 2; c: f = 1/5, r = 2; so images 0 to 2 come twice.
    assert classes["epoch_length_balanced"] == 8 / 5
    assert report["per_class"]["c"]["share_balanced"] == pytest.approx(2 / 10)
    assert report["per_class"]["c"]["in_batch"] == pytest.approx(1 - 0.8**2)
    assert report["per_class"]["c"]["in_batch_balanced"] == pytest.approx(1 - (6 / 8) ** 2)
    images = report["images"]
    assert images["without_objects"] == 2
    assert images["objects"] | {"histogram": None} == {
        "mean": 1.0, "median": 1.0, "max": 3.0, "histogram": None
    }  # fmt: skip
    assert images["objects"]["histogram"]["counts"][:4] == [2, 2, 0, 1]
    assert images["classes"]["histogram"]["counts"][:3] == [2, 2, 1]


def test_sizes_and_places():
    report = measure_data(make_objects())
    sizes, places = report["sizes"], report["places"]
    # Areas 600, 100, 500, 400 and 6400 pixels.
    assert (sizes["small"], sizes["medium"], sizes["large"]) == (0.8, 0.2, 0.0)
    side = np.sqrt([600 / 5000, 100 / 5000, 500 / 5000, 400 / 20000, 6400 / 10000])
    assert sizes["side"]["median"] == pytest.approx(np.median(side))
    assert sizes["span"] == pytest.approx(np.percentile(side, 95) / np.percentile(side, 5))
    assert sizes["elongated"] == 0.2  # 50 x 10
    for key in ("relative_width", "relative_area", "log2_aspect_ratio"):
        assert sum(sizes[key]["counts"]) == 5
    # Centres: (.5, .5), (.5, .5), (.25, .1), (.5, .5), (.5, .5).
    assert places["middle"] == pytest.approx(0.8)
    assert places["ninths"][0] == pytest.approx([0.2, 0, 0])
    assert places["unevenness"] == pytest.approx(1 - 2 / 9)
    assert np.sum(places["heat_map"]) == 5
    assert places["border"] == 0.0


@pytest.mark.parametrize("threshold", [0.01, 0.3, 0.9])
def test_repeats_are_those_of_class_balanced_dataset(threshold):
    rng = np.random.default_rng(0)
    num_images, classes = 60, ("a", "b", "c", "d")
    image = np.repeat(np.arange(num_images), 3)
    label = rng.choice(4, image.size, p=[0.7, 0.2, 0.08, 0.02])
    objects = Objects(
        classes, np.full((num_images, 2), 50.0), image, label, np.ones((image.size, 4))
    )

    class Labels(BaseDataset):
        def load_data_list(self):
            return [{"labels": set(label[image == i].tolist())} for i in range(num_images)]

        def get_cat_ids(self, idx):
            return self.get_data_info(idx)["labels"]

    balanced = ClassBalancedDataset(Labels(metainfo={"classes": classes}), oversample_thr=threshold)
    expected = np.bincount(balanced.repeat_indices, minlength=num_images)
    assert repeat_factors(objects, threshold).tolist() == expected.tolist()


def test_no_object():
    nothing = Objects(("a",), np.ones((2, 2)), *[np.zeros(0, int)] * 2, np.zeros((0, 4)))
    with pytest.raises(ValueError, match="Expected objects to analyse"):
        measure_data(nothing)


def test_a_sentence_for_every_kind():
    report = measure_data(make_objects())
    findings = find_imbalance(report)
    assert [f.level for f in findings] == [
        "balance",  # 4 to 1
        "not measured",
        "imbalance",  # small objects
        "imbalance",  # all in the middle
        "not measured",
        "not measured",
    ]
    assert "4.0 times the objects of the rarest, `c` (1)" in findings[0].text
    assert "1 class has no object at all: `b`" in findings[0].text
    # Every sentence about an imbalance names an option, which exists.
    for finding in findings:
        assert finding.level == "balance" or "`" in finding.text
    rare = measure_data(
        Objects(
            ("a", "b"),
            np.full((41, 2), 90.0),
            np.arange(41),
            np.array([0] * 40 + [1]),
            np.ones((41, 4)),
        )
    )
    first = find_imbalance(rare)[0]
    assert first.level == "imbalance"
    assert "OnlineForegroundBalancedSampler" in first.text
    assert "ClassBalancedDataset" in first.text
    assert "brings that to" in first.text
    # Both classes in every image: showing images again changes nothing.
    shared = measure_data(
        Objects(
            ("a", "b"),
            np.full((4, 2), 90.0),
            np.repeat(np.arange(4), 11),
            np.array(([0] * 10 + [1]) * 4),
            np.ones((44, 4)),
        )
    )
    assert "does not help (10.0)" in find_imbalance(shared)[0].text
