"""RescoringTracker: links by least total cost, scores by Bayes' rule, thresholds by class."""

import itertools
import json

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample, TrackDataSample
from mmengine.structures import InstanceData
from torch import nn

from mmdet_rank.models.trackers import RescoringTracker

CLASSES = ("cat", "dog", "cow")


def sample(frame, boxes, labels, scores):
    made = DetDataSample(metainfo=dict(frame_id=frame, img_shape=(100, 100)))
    made.pred_instances = InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.tensor(labels, dtype=torch.long),
        scores=torch.tensor(scores, dtype=torch.float32),
    )
    return made


def tracker(**kwargs):
    return RescoringTracker(CLASSES, **{"thresholds": 0.0} | kwargs)


def overlap(one, other):
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return shared / (sum(areas) - shared)


def floored(weights):
    weights = [weight / sum(weights) + 1e-4 for weight in weights]
    return [weight / sum(weights) for weight in weights]


def distribution(at, boxes, labels, scores):
    """Per class the highest score in the place of a detection, and the rest for background."""
    best = [0.0] * len(CLASSES)
    for box, label, score in zip(boxes, labels, scores, strict=True):
        if overlap(boxes[at], box) >= 0.7:
            best[label] = max(best[label], score)
    best[labels[at]] = scores[at]
    return floored([*best, 1 - max(best)])


def expected(first, second):
    """Numbers and scores of the second frame by trying all assignments."""
    before = [distribution(i, *first) for i in range(len(first[0]))]
    after = [distribution(j, *second) for j in range(len(second[0]))]
    best_cost, best_links = None, {}
    places = [*range(len(second[0])), *[None] * len(first[0])]
    for chosen in set(itertools.permutations(places, len(first[0]))):
        cost, links = 0.0, {}
        for i, j in enumerate(chosen):
            iou = overlap(first[0][i], second[0][j]) if j is not None else 0.0
            if j is None or iou < 0.3 or first[1][i] != second[1][j]:
                cost += 1e6
                continue
            cost += sum(abs(a - b) for a, b in zip(before[i], after[j], strict=True)) + 1 - iou
            links[j] = i
        if best_cost is None or cost < best_cost:
            best_cost, best_links = cost, links
    scores = list(second[2])
    for j, i in best_links.items():
        both = floored([a * b for a, b in zip(before[i], after[j], strict=True)])
        scores[j] = both[second[1][j]]
    return best_links, scores


@pytest.mark.parametrize("seed", range(6))
def test_links_and_scores_are_those_of_all_assignments(seed):
    generator = torch.Generator().manual_seed(seed)

    def frame(number):
        corners = torch.rand(number, 2, generator=generator) * 25
        sides = 15 + torch.rand(number, 2, generator=generator) * 15
        labels = torch.randint(2, (number,), generator=generator)
        scores = torch.rand(number, generator=generator)
        return torch.cat([corners, corners + sides], 1).tolist(), labels.tolist(), scores.tolist()

    first, second = frame(4), frame(5)
    links, scores = expected(first, second)
    tracked = tracker()
    assert tracked.track(sample(0, *first)).instances_id.tolist() == [0, 1, 2, 3]
    found = tracked.track(sample(1, *second))
    assert {j: n for j, n in enumerate(found.instances_id.tolist()) if n < 4} == links
    torch.testing.assert_close(found.scores, torch.tensor(scores), rtol=1e-4, atol=1e-6)
    new = [number for number in found.instances_id.tolist() if number >= 4]
    assert new == list(range(4, 4 + len(second[0]) - len(links)))


def test_equal_places_are_told_apart_by_their_scores():
    box = [10.0, 10, 30, 30]
    beside = [[8.0, 10, 28, 30], [12.0, 10, 32, 30]]
    tracked = tracker()
    tracked.track(sample(0, beside, [0, 0], [0.9, 0.3]))
    found = tracked.track(sample(1, [box, box], [0, 0], [0.2, 0.8]))
    assert found.instances_id.tolist() == [1, 0]
    # .3 and .2 speak against an object, .9 and .8 for it; of one place, 0.8 is the place's score.
    assert found.scores[0] < 0.2
    assert found.scores[1] > 0.9


def test_another_class_in_the_same_place_lowers_the_score():
    box = [10.0, 10, 30, 30]
    alone, contested = tracker(), tracker()
    for frame in range(2):
        sure = alone.track(sample(frame, [box], [0], [0.7]))
        unsure = contested.track(sample(frame, [box, box], [0, 1], [0.7, 0.6]))
    cat, dog, rest = 0.7**2, 0.6**2, 0.3**2
    assert sure.scores.tolist() == pytest.approx([cat / (cat + rest)], abs=1e-3)
    total = cat + dog + rest
    assert unsure.scores.tolist() == pytest.approx([cat / total, dog / total], abs=1e-3)
    without = tracker(background=False)
    for frame in range(2):
        found = without.track(sample(frame, [box, box], [0, 1], [0.07, 0.06]))
    assert found.scores.tolist() == pytest.approx([49 / 85, 36 / 85], abs=2e-3)


def test_thresholds_by_class_come_before_links(tmp_path):
    boxes = [[0.0, 0, 20, 20], [50.0, 50, 80, 80], [0.0, 50, 20, 90], [60.0, 0, 90, 30]]
    frame = (boxes, [0, 1, 1, 2], [0.55, 0.35, 0.25, 0.05])
    file = tmp_path / "thresholds.json"
    file.write_text(json.dumps({"cat": 0.6, "dog": 0.3}))
    for thresholds, kept in ((0.3, [0, 1]), ({"cat": 0.6, "dog": 0.3}, [1, 3]), (file, [1, 3])):
        found = tracker(thresholds=thresholds).track(sample(0, *frame))
        assert found.bboxes.tolist() == [boxes[i] for i in kept]
        assert found.scores.tolist() == torch.tensor(frame[2])[kept].tolist()
    with pytest.raises(ValueError, match="Expected thresholds for categories of the detector"):
        tracker(thresholds={"horse": 0.5})


def test_a_moving_object_is_found_where_the_filter_expects_it():
    # At 9 pixels a frame, of 20, the IoU with the last box is less than asked for.
    tracked = tracker(match_iou_thr=0.4, num_frames_retain=2)
    steps = [0, 2, 5, 9, 14, 20, 27, 35, 44]  # ever faster
    numbers = [
        tracked.track(sample(i, [[x, 0.0, x + 20, 20]], [1], [0.9])).instances_id.item()
        for i, x in enumerate(steps)
    ]
    assert numbers == [0] * len(steps)
    # One frame without it, and it is found again; after two it is another object.
    assert tracked.track(sample(9, [], [], [])).instances_id.tolist() == []
    x = 56  # as fast as the filter believes by now
    assert tracked.track(sample(10, [[x, 0, x + 20, 20]], [1], [0.9])).instances_id.item() == 0
    for frame in (11, 12):
        tracked.track(sample(frame, [], [], []))
    assert tracked.track(sample(13, [[x, 0, x + 20, 20]], [1], [0.9])).instances_id.item() == 1
    # Another video begins with no track.
    assert tracked.track(sample(0, [[x, 0, x + 20, 20]], [1], [0.9])).instances_id.item() == 0


def test_inputs_stay_and_masks_go_along():
    given = sample(0, [[0, 0, 20, 20], [0, 0, 8, 8]], [0, 1], [0.2, 0.9])
    given.pred_instances.masks = torch.arange(8).reshape(2, 2, 2)
    found = tracker(thresholds=0.5).track(given)
    assert found.masks.tolist() == [[[4, 5], [6, 7]]]
    assert set(found.keys()) == {"bboxes", "labels", "scores", "masks", "instances_id"}
    assert set(given.pred_instances.keys()) == {"bboxes", "labels", "scores", "masks"}
    assert given.pred_instances.scores.tolist() == torch.tensor([0.2, 0.9]).tolist()


def test_a_frame_without_its_number_is_refused():
    unnumbered = sample(0, [], [], [])
    unnumbered.set_metainfo(dict(frame_id=None))
    with pytest.raises(ValueError, match="Expected the meta information of a frame"):
        tracker().track(unnumbered)


class Detector(nn.Module):
    """Finds the same object in every frame."""

    def predict(self, inputs, data_samples):
        frame = data_samples[0].metainfo["frame_id"]
        return [sample(frame, [[0, 0, 20, 20]], [2], [0.6])]


def test_in_a_video_model_of_mmdetection():
    MODELS.register_module(name="OneObject", module=Detector, force=True)
    config = dict(type="RescoringTracker", classes=CLASSES, thresholds=dict(cow=0.5))
    model = MODELS.build(dict(type="ByteTrack", detector=dict(type="OneObject"), tracker=config))
    frames = [sample(frame, [], [], []) for frame in range(3)]
    video = TrackDataSample(video_data_samples=frames)
    (tracked,) = model.predict(torch.zeros(1, 3, 3, 32, 32), [video])
    scores = [frame.pred_track_instances.scores.item() for frame in tracked]
    assert scores == pytest.approx([0.6, 0.36 / 0.52, 0.216 / 0.28], abs=1e-3)
