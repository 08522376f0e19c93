import pytest
import torch

from mmdet_rank.ops.grid import KnotGrid

CASES = {
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
@pytest.mark.parametrize("case", CASES)
def test_equals_searchsorted(case, dtype):
    for seed in range(20):
        gen = torch.Generator().manual_seed(seed)
        knots = CASES[case](gen).to(dtype).sort().values
        points = torch.randn(3000, generator=gen, dtype=torch.float64) * (seed + 1)
        near = knots[torch.randint(knots.numel(), (1000,), generator=gen)]
        points = torch.cat([points.to(dtype), near, near.nextafter(knots.new_tensor(torch.inf))])
        points = points[points <= knots[-1]]
        count = KnotGrid(knots).search(points)
        assert torch.equal(count.long(), torch.searchsorted(knots, points, right=True))
