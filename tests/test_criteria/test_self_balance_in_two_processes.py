"""aLRP's self-balance over two processes, one of which sees no object."""

import torch
import torch.distributed as dist
from processes import run_processes

from mmdet_rank.criteria.balance import EpochBalance

PERIOD = 2
#: In the middle of the second period.
STOP = 3
# (cls, loc) of each iteration, of the process with objects; the other one's are all 0.
LOSSES = [(0.9, 0.2), (0.7, 0.4), (0.6, 0.3), (0.4, 0.1), (0.3, 0.2)]


def train(balance, rank, iterations):
    """Factors of some iterations."""
    anything = torch.zeros(1)
    seen = []
    for losses in iterations:
        cls, loc = (torch.tensor(value if rank == 0 else 0.0) for value in losses)
        seen.append(balance(cls, loc, anything, anything).item())
    return seen


def factors(rank, world_size):
    """Factors of an uninterrupted run, and of one resumed from the first process's checkpoint."""
    uninterrupted = train(EpochBalance(period=PERIOD), rank, LOSSES)
    stopped = EpochBalance(period=PERIOD)
    before = train(stopped, rank, LOSSES[:STOP])
    checkpoint = [stopped.state_dict()]
    dist.broadcast_object_list(checkpoint)
    resumed = EpochBalance(period=PERIOD)
    resumed.load_state_dict(checkpoint[0])
    return uninterrupted, before + train(resumed, rank, LOSSES[STOP:])


def test_the_factor_is_that_of_all_processes(tmp_path):
    (first, resumed), (second, also_resumed) = run_processes(factors, [2], tmp_path)[2]
    assert first == second == resumed == also_resumed
    # The process without objects adds 0 to numerator and denominator alike.
    expected = [50.0, 50.0]
    for start in (0, PERIOD):
        cls, loc = (sum(part) for part in zip(*LOSSES[start : start + PERIOD], strict=True))
        expected += [(cls + loc) / loc] * PERIOD
    torch.testing.assert_close(torch.tensor(first), torch.tensor(expected[: len(first)]))
