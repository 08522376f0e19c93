import pytest
import torch
from ranking_cases import assert_close

from mmdet_rank.ops import unit_step
from mmdet_rank.ops.knots import KnotGrid, KnotTable
from mmdet_rank.ops.negatives import LocatedNegatives
from mmdet_rank.ops.roles import Roles

NOBODY = torch.zeros(0, dtype=torch.int64)
NEGATIVES_ONLY = Roles(NOBODY, NOBODY.float(), None, None)


@pytest.mark.parametrize("delta", [0.0, 0.5, 3.0])
@pytest.mark.parametrize("ties", [False, True])
def test_count_and_spread_are_the_sums_over_all_pairs(delta, ties):
    for seed in range(100):
        gen = torch.Generator().manual_seed(seed)
        scores = torch.randn(17, generator=gen, dtype=torch.float64) * 3
        points = torch.randn(200, generator=gen, dtype=torch.float64) * 3
        if ties:
            scores, points = scores.round(), points.round()
        weights = torch.rand(17, generator=gen, dtype=torch.float64)
        table = KnotTable(scores, delta, torch.float64)
        negatives = LocatedNegatives(points, NEGATIVES_ONLY, table)
        histogram = negatives.histogram
        step = unit_step(points[None, :] - scores[:, None], delta)
        count, reached = table.count(histogram)
        assert_close(count, step.sum(1), torch.float64)
        assert torch.equal(reached, (points >= scores[:, None] - delta).any(1))
        spread = negatives.spread(points, *table.spread(weights))
        assert_close(spread, weights @ step, torch.float64)
        # The two are adjoint: <count, weights> = <1, spread>.
        assert_close(spread.sum(), count @ weights, torch.float64)


def test_count_of_one_far_away_does_not_drown():
    # One point half way up the step of each score, a million others far below and above.
    scores = torch.tensor([-1000.0, 0.0, 1000.0], dtype=torch.float64)
    crowd = torch.cat([torch.full((10**6,), -5000.0), torch.full((10**6,), 5000.0)]).double()
    points = torch.cat([scores + 0.1, crowd])
    table = KnotTable(scores, 0.5, torch.float64)
    histogram = LocatedNegatives(points, NEGATIVES_ONLY, table).histogram
    expected = 10**6 + torch.tensor([2.6, 1.6, 0.6], dtype=torch.float64)
    torch.testing.assert_close(table.count(histogram)[0], expected, rtol=1e-15, atol=1e-9)


GRIDS = {
    "spread": lambda g: torch.randn(999, generator=g),
    "one": lambda g: torch.randn(1, generator=g),
    "tied": lambda g: torch.randn(500, generator=g).mul(3).round(),
    "equal": lambda g: torch.full((70,), 3.0),
    "crowded": lambda g: torch.cat([torch.randn(300, generator=g) * 1e-3, torch.tensor([1e4])]),
    "tiny": lambda g: torch.randn(300, generator=g) * 1e-38,
    "huge": lambda g: torch.randn(300, generator=g) * 1e38,
    "infinite": lambda g: torch.tensor([-torch.inf, 0.0, 1.0, torch.inf]),
    "undefined": lambda g: torch.tensor([0.0, torch.nan]),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", GRIDS)
def test_grid_equals_searchsorted(case, dtype):
    for seed in range(20):
        gen = torch.Generator().manual_seed(seed)
        knots = GRIDS[case](gen).to(dtype).sort().values
        points = torch.randn(3000, generator=gen, dtype=torch.float64) * (seed + 1)
        near = knots[torch.randint(knots.numel(), (1000,), generator=gen)]
        points = torch.cat([points.to(dtype), near, near.nextafter(knots.new_tensor(torch.inf))])
        points = points[points <= knots[-1]]
        count = KnotGrid(knots).search(points)
        assert torch.equal(count.long(), torch.searchsorted(knots, points, right=True))
