"""aLRP's self-balance over two processes, one of which sees no object."""

import torch
from processes import run_processes

from mmdet_rank.criteria.balance import EpochBalance

PERIOD = 2
# (cls, loc) of each iteration, of the process with objects; the other one's are all 0.
LOSSES = [(0.9, 0.2), (0.7, 0.4), (0.6, 0.3), (0.4, 0.1), (0.3, 0.2)]


def factors(rank, world_size):
    """Factors of five iterations, the state after them, and the next factor after a resume."""
    balance = EpochBalance(period=PERIOD, initial=50.0)
    anything = torch.zeros(1)
    seen = []
    for losses in LOSSES:
        cls, loc = (torch.tensor(value if rank == 0 else 0.0) for value in losses)
        seen.append(balance(cls, loc, anything, anything).item())
    resumed = EpochBalance(period=PERIOD, initial=50.0)
    resumed.load_state_dict(balance.state_dict())
    return seen, resumed(anything[0], anything[0], anything, anything).item()


def test_the_factor_is_that_of_all_processes(tmp_path):
    (first, resumed), (second, also_resumed) = run_processes(factors, [2], tmp_path)[2]
    assert first == second
    assert resumed == also_resumed == first[-1]
    # The process without objects adds 0 to numerator and denominator alike.
    expected = [50.0, 50.0]
    for start in (0, PERIOD):
        cls, loc = (sum(part) for part in zip(*LOSSES[start : start + PERIOD], strict=True))
        expected += [(cls + loc) / loc] * PERIOD
    torch.testing.assert_close(torch.tensor(first), torch.tensor(expected[: len(first)]))
