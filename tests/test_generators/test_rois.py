"""The positive RoI generator: numbers by class, object and bin."""

import pytest
import torch
from torchvision.ops import box_iou

from mmdet_rank.generators import IOU_WEIGHTS, allocate_rois, generate_rois

# The image of thesis 4.3.2: 4 bottles, 2 persons, 2 dining tables and 1 chair.
LABELS = torch.tensor([4, 4, 4, 4, 14, 14, 10, 10, 8])


def boxes_of(labels, seed=0):
    gen = torch.Generator().manual_seed(seed)
    corner, size = torch.rand(2, len(labels), 2, generator=gen)
    return torch.cat([corner, corner + 0.1 + size], 1) * 80


def test_shared_over_classes_then_objects():
    assert allocate_rois(LABELS, 32).tolist() == [2, 2, 2, 2, 4, 4, 4, 4, 8]
    by_object = allocate_rois(LABELS, 32, balanced=False)
    assert by_object.sum() == 32
    assert set(by_object.tolist()) == {3, 4}


def test_what_does_not_divide_goes_round():
    gen = torch.Generator().manual_seed(0)
    counts = torch.stack([allocate_rois(LABELS, 33, generator=gen) for _ in range(400)])
    assert (counts.sum(1) == 33).all()
    per_class = torch.stack([counts[:, c == LABELS].sum(1) for c in LABELS.unique()], 1)
    assert set(per_class.flatten().tolist()) == {8, 9}
    assert ((per_class == 9).double().mean(0) - 0.25).abs().max() < 0.09  # 4 standard errors
    assert allocate_rois(LABELS[:0], 8).tolist() == []
    assert allocate_rois(LABELS, 2).sum() == 2
    with pytest.raises(ValueError, match="num >= 0, but got -1"):
        allocate_rois(LABELS, -1)


@pytest.mark.parametrize("within_bins", [True, False])
@pytest.mark.parametrize("name", IOU_WEIGHTS)
def test_bins(name, within_bins):
    gen = torch.Generator().manual_seed(1)
    made = generate_rois(
        boxes_of(LABELS), LABELS, 20_000, weights=name, within_bins=within_bins, generator=gen
    )
    bins = ((made.min_ious + 1e-9) * 10).floor().int() - 5
    shares = torch.bincount(bins, minlength=5) / 20_000
    assert shares.tolist() == pytest.approx(IOU_WEIGHTS[name], abs=0.015)
    inside = made.min_ious - bins / 10 - 0.5
    if within_bins:
        width = torch.where(bins == 4, 0.05, 0.1)
        assert (inside < width).all()
        assert (inside / width).mean().item() == pytest.approx(0.5, abs=0.01)
    else:
        assert inside.abs().max() < 1e-7
    found = box_iou(boxes_of(LABELS), made.rois.float())[made.objects, range(20_000)]
    assert (found.double() >= made.min_ious - 1e-6).all()


def test_clipped_to_the_image():
    boxes = torch.tensor([[0.0, 5.0, 40.0, 30.0], [10.0, 0.0, 60.0, 50.0]])
    gen = torch.Generator().manual_seed(2)
    made = generate_rois(boxes, torch.tensor([1, 1]), 200, image_shape=(50, 60), generator=gen)
    assert made.rois.min() == 0
    assert made.rois[:, 2].max() == 60
    assert made.rois[:, 3].max() == 50
    found = box_iou(boxes, made.rois)[made.objects, range(200)]
    assert (found.double() >= made.min_ious - 1e-6).all()


def test_without_objects():
    made = generate_rois(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), 32)
    assert [len(part) for part in made] == [0, 0, 0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(weights="skewed"), "one of .*'uniform'.* but got 'skewed'"),
        (dict(weights=(1.0, 1.0)), "for each of the 5 bases, but got"),
        (dict(weights=(1, 1, 1, 1, -1)), "one share of at least 0"),
        (dict(bases=(0.5, 0.5), weights=(1, 1)), "ascending IoUs"),
    ],
)
def test_mistakes(options, message):
    with pytest.raises(ValueError, match=message):
        generate_rois(boxes_of(LABELS), LABELS, 8, **options)


def test_by_default_classes_are_balanced_and_ious_drawn_within_their_bins():
    options = [dict(), dict(weights="uniform", within_bins=True, balanced=True)]
    made, asked = (
        generate_rois(boxes_of(LABELS), LABELS, 33, generator=torch.Generator().manual_seed(3), **o)
        for o in options
    )
    assert torch.equal(made.rois, asked.rois)
    assert torch.equal(made.min_ious, asked.min_ious)
