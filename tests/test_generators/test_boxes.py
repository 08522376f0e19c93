"""The box generator against the IoU itself, by its invariances, and by figures of the thesis."""

import pytest
import torch

from mmdet_rank.generators import corner_contour, generate_boxes


def iou(boxes, drawn):
    """(M, num) IoUs in float64 of references (M, 4) and boxes (M, num, 4)."""
    boxes, drawn = boxes.double()[:, None], drawn.double()
    inner = torch.minimum(boxes[..., 2:], drawn[..., 2:])
    inner = (inner - torch.maximum(boxes[..., :2], drawn[..., :2])).clamp(min=0).prod(-1)
    areas = [(b[..., 2:] - b[..., :2]).prod(-1) for b in (boxes, drawn)]
    return inner / (areas[0] + areas[1] - inner)


def some_boxes(num, dtype=torch.float32, scale=500.0, seed=0):
    gen = torch.Generator().manual_seed(seed)
    corner, size = torch.rand(2, num, 2, generator=gen, dtype=torch.float64)
    return (torch.cat([corner, corner + 0.01 + size], 1) * scale).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_every_iou_is_reached(dtype):
    boxes = some_boxes(3000, dtype)
    boxes = boxes[(boxes[:, 2:] > boxes[:, :2]).all(1)]  # some vanish by rounding
    gen = torch.Generator().manual_seed(1)
    min_iou = 0.05 + 0.94 * torch.rand(len(boxes), generator=gen)
    drawn = generate_boxes(boxes, min_iou, 3, gen)
    assert (drawn.shape, drawn.dtype) == ((len(boxes), 3, 4), dtype)
    assert (iou(boxes, drawn) >= min_iou.double()[:, None]).all()
    assert (drawn[..., 2:] > drawn[..., :2]).all()


# Of 20,000 boxes, order of the corners mixed and proposals uniform.
@pytest.mark.parametrize(
    ("min_iou", "mean"), [(0.5, 0.539), (0.6, 0.634), (0.7, 0.728), (0.8, 0.820), (0.9, 0.911)]
)
def test_mean_iou(min_iou, mean):
    boxes = torch.tensor([[30.0, 10.0, 70.0, 110.0]]).repeat(20_000, 1)
    found = iou(boxes, generate_boxes(boxes, min_iou, generator=torch.Generator().manual_seed(2)))
    assert found.mean().item() == pytest.approx(mean, abs=1.5e-3)


def test_shares_of_the_bins():
    gen = torch.Generator().manual_seed(3)
    found = iou(*(boxes := some_boxes(1), generate_boxes(boxes, 0.5, 20_000, gen)))
    shares = torch.histc(found, 5, 0.5, 1.0) / found.numel()
    assert shares.tolist() == pytest.approx([0.899, 0.086, 0.014, 0.001, 0.000], abs=5e-3)


@pytest.mark.parametrize(("min_iou", "area"), [(0.5, 1.153), (0.7, 0.275), (0.9, 0.0227)])
def test_region_of_the_first_corner(min_iou, area):
    x, y = contour = corner_contour(min_iou, 5000).T
    assert (x * y.roll(-1) - y * x.roll(-1)).sum().abs() / 2 == pytest.approx(area, rel=4e-3)
    # On the border the IoU is the wanted one, in all four parts (thesis Table B.1, row II mended).
    corners = torch.cat([contour.T, torch.ones(contour.shape[1], 2)], 1)
    square = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    torch.testing.assert_close(
        iou(square, corners[None])[0], torch.full((contour.shape[1],), min_iou).double()
    )


def test_acceptance_of_uniform_proposals():
    proposed = []

    def counting(low, high, generator):
        proposed.append(len(low))
        return low + torch.rand(low.shape, dtype=low.dtype, generator=generator) * (high - low)

    gen = torch.Generator().manual_seed(4)
    generate_boxes(some_boxes(20_000), 0.5, 1, gen, proposal=counting)
    of_first_corners = proposed[: proposed.index(20_000, 1)]
    assert 20_000 / sum(of_first_corners) == pytest.approx(0.51, abs=0.01)


def test_moves_and_scales_with_the_box():
    square = torch.tensor([[0.0, 0.0, 1.0, 1.0]], dtype=torch.float64)
    scale, shift = torch.tensor([40.0, 3.0]).double(), torch.tensor([-7.0, 90.0]).double()
    other = (square.view(1, 2, 2) * scale + shift).view(1, 4)
    one, two = (
        generate_boxes(boxes, 0.6, 500, torch.Generator().manual_seed(5))
        for boxes in (square, other)
    )
    torch.testing.assert_close((one.view(1, 500, 2, 2) * scale + shift).view(1, 500, 4), two)


def test_no_direction_is_preferred():
    gen = torch.Generator().manual_seed(6)
    square = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    drawn = generate_boxes(square, 0.5, 40_000, gen)[0]
    outside = torch.cat([-drawn[:, :2], drawn[:, 2:] - 1], 1)  # of all four sides
    assert (outside.mean(0) - outside.mean()).abs().max() < 4 * outside.std() / 200


def test_distribution_of_proposals():
    def inwards(low, high, generator):
        return high * torch.rand(low.shape, dtype=low.dtype, generator=generator)

    boxes = some_boxes(50)
    drawn = generate_boxes(boxes, 0.5, 20, proposal=inwards)
    assert (drawn[..., :2] >= boxes[:, None, :2]).all()
    assert (drawn[..., 2:] <= boxes[:, None, 2:]).all()
    with pytest.raises(ValueError, match="50 of 50 boxes had none"):
        generate_boxes(boxes, 0.5, proposal=lambda low, high, generator: high + 1)


def test_same_seed_same_boxes_and_input_unchanged():
    boxes = some_boxes(100)
    before = boxes.clone()
    one, two = (generate_boxes(boxes, 0.5, 4, torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(one, two)
    assert torch.equal(boxes, before)
    assert not torch.equal(one[:, 0], one[:, 1])


def test_nothing_to_draw():
    assert generate_boxes(torch.zeros(0, 4), 0.5, 3).shape == (0, 3, 4)
    assert generate_boxes(some_boxes(2), 0.5, 0).shape == (2, 0, 4)


@pytest.mark.parametrize(
    ("boxes", "min_iou", "num", "error", "message"),
    [
        ([[0, 0, 1, 1]], 0.5, 1, TypeError, "tensor of floats, but got list"),
        (torch.tensor([[0, 0, 1, 1]]), 0.5, 1, TypeError, "but got torch.int64"),
        (torch.zeros(4), 0.5, 1, ValueError, r"shape \(M, 4\), but got \(4,\)"),
        (torch.tensor([[0.0, 0, 0, 1]]), 0.5, 1, ValueError, "got one without an area"),
        (torch.full((1, 4), torch.nan), 0.5, 1, ValueError, "got one without an area"),
        (some_boxes(2), 1.0, 1, ValueError, r"min_iou in \(0, 1\), but got 1"),
        (some_boxes(2), torch.zeros(2), 1, ValueError, r"min_iou in \(0, 1\), but got others"),
        (some_boxes(2), torch.ones(3) / 2, 1, ValueError, r"shape \(2,\), but got \(3,\)"),
        (some_boxes(2), 0.5, -1, ValueError, "num >= 0, but got -1"),
    ],
)
def test_mistakes(boxes, min_iou, num, error, message):
    with pytest.raises(error, match=message):
        generate_boxes(boxes, min_iou, num)
