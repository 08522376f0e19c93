"""``sync=True``: many processes compute the gradients of one that has the whole batch."""

import pytest
import torch
import torch.distributed as dist
from processes import run_processes
from torch import nn

from mmdet_rank.ops import average_lrp_loss, average_precision_loss, rank_sort_loss
from mmdet_rank.ops.ranking_weights import ranking_weights

#: Positives and negatives of each process.
SCENARIOS = {
    2: {
        "uneven": [(5, 40), (17, 300)],
        "nothing in one": [(7, 60), (0, 0)],
        "all empty": [(0, 20), (0, 0)],
    },
    3: {
        "uneven": [(3, 500), (31, 20), (11, 100)],
        "no positive in two": [(0, 50), (0, 30), (9, 80)],
        "no negative in one": [(4, 0), (5, 90), (6, 10)],
        "all empty": [(0, 5), (0, 6), (0, 7)],
    },
}
LOSSES = ["rank_sort", "average_lrp", "average_precision", "weights"]
WIDTH = 6


def make_share(scenario, rank, dtype):
    """(features, targets, loc_errors) of one process, with ties between processes."""
    num_pos, num_neg = scenario[rank]
    gen = torch.Generator().manual_seed(100 * len(scenario) + rank)
    features = torch.randn(num_pos + num_neg, WIDTH, generator=gen, dtype=torch.float64)
    features = (features * 4).round() / 4
    targets = torch.zeros(num_pos + num_neg, dtype=torch.float64)
    targets[:num_pos] = (torch.rand(num_pos, generator=gen) * 8).ceil() / 8
    targets[num_pos + num_neg // 2 :][:2] = -1
    loc_errors = torch.rand(num_pos, generator=gen, dtype=torch.float64)
    order = torch.randperm(len(targets), generator=gen)
    return features[order].to(dtype), targets[order].to(dtype), loc_errors.to(dtype)


def make_model(dtype):
    torch.manual_seed(0)
    return nn.Linear(WIDTH, 1).to(dtype)


def compute(name, logits, targets, loc_errors, sync):
    """Loss values, the last of them as a mean over processes, and what to backpropagate."""
    if name == "rank_sort":
        parts = rank_sort_loss(logits, targets, sync=sync)
    elif name == "average_lrp":
        parts = average_lrp_loss(logits, targets, loc_errors, sync=sync)
    elif name == "average_precision":
        parts = (average_precision_loss(logits, targets, sync=sync),)
    else:  # weights of another loss
        weights = ranking_weights(logits, targets, sync=sync)
        scale = dist.get_world_size() if sync else 1
        parts = ((logits[targets > 0] * weights).sum() * scale,)
    return parts


def step(model, name, share, sync):
    features, targets, errors = share
    errors = errors.clone().requires_grad_()
    parts = compute(name, model(features).squeeze(1), targets, errors, sync)
    model.zero_grad()
    sum(parts).backward()
    gradients = [p.grad.clone() for p in model.parameters()]
    return {
        "parts": torch.stack([part.detach() for part in parts]),
        "gradients": gradients,
        "errors": errors.grad if errors.grad is not None else torch.zeros_like(errors),
    }


def count_bytes(work):
    """Bytes that this process hands to collectives while ``work`` runs."""
    total = 0

    def counting(collective, argument):
        def wrapped(*tensors, **options):
            nonlocal total
            total += tensors[argument].numel() * tensors[argument].element_size()
            return collective(*tensors, **options)

        return wrapped

    gather, reduce = dist.all_gather_into_tensor, dist.all_reduce
    dist.all_gather_into_tensor = counting(gather, 1)
    dist.all_reduce = counting(reduce, 0)
    try:
        work()
    finally:
        dist.all_gather_into_tensor, dist.all_reduce = gather, reduce
    return total


def traffic(name, rank, num_negatives, dtype):
    """Bytes handed to collectives, forward and backward, for 20 positives here, 10 elsewhere."""
    num_positives = 20 if rank == 0 else 10
    logits = torch.randn(num_negatives + 20, dtype=dtype).requires_grad_()
    targets = torch.zeros(num_negatives + 20)
    targets[:num_positives] = 0.5
    errors = torch.rand(num_positives)
    return count_bytes(lambda: sum(compute(name, logits, targets, errors, sync=True)).backward())


def everything(rank, world_size):
    """All losses on all scenarios, as one process among ``world_size`` sees them."""
    results = {}
    for name in LOSSES:
        for dtype in (torch.float32, torch.float64):
            for scenario, sizes in SCENARIOS[world_size].items():
                model = nn.parallel.DistributedDataParallel(make_model(dtype))
                share = make_share(sizes, rank, dtype)
                results[name, dtype, scenario] = step(model, name, share, sync=True)
    results["traffic"] = {
        name: [
            traffic(name, rank, count, dtype)
            for count in (100, 50_000)
            for dtype in (torch.float16, torch.float32, torch.float64)
        ]
        for name in LOSSES
    }
    return results


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    return run_processes(everything, list(SCENARIOS), tmp_path_factory.mktemp("processes"))


@pytest.mark.parametrize("world_size", SCENARIOS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", LOSSES)
def test_equals_one_process_with_the_whole_batch(processes, world_size, name, dtype):
    for scenario, sizes in SCENARIOS[world_size].items():
        shares = [make_share(sizes, rank, dtype) for rank in range(world_size)]
        whole = [torch.cat(columns) for columns in zip(*shares, strict=True)]
        expected = step(make_model(dtype), name, whole, sync=False)
        results = [result[name, dtype, scenario] for result in processes[world_size]]
        tolerance = {"rtol": 1e-5, "atol": 1e-7}
        for result in results:
            for actual, value in zip(result["gradients"], expected["gradients"], strict=True):
                torch.testing.assert_close(actual, value, **tolerance)
        parts = torch.stack([result["parts"] for result in results])
        torch.testing.assert_close(parts.mean(0), expected["parts"], **tolerance)
        if name in ("rank_sort", "average_precision"):
            assert (parts == parts[0]).all()
        else:
            assert (parts[:, :-1] == parts[0, :-1]).all()
        errors = torch.cat([result["errors"] for result in results]) / world_size
        torch.testing.assert_close(errors, expected["errors"], **tolerance)


@pytest.mark.parametrize("world_size", SCENARIOS)
def test_traffic_does_not_depend_on_the_number_of_negatives(processes, world_size):
    num_positives = 20 + 10 * (world_size - 1)
    # Everybody sends one number, logit and label (or localisation error) of as many positives as
    # the most has, and count and sum of offsets for 2 P + 1 intervals; nothing backwards.
    expected = 8 + 20 * 2 * 8 + (2 * num_positives + 1) * 2 * 8
    for result in processes[world_size]:
        assert result["traffic"] == {name: [expected] * 6 for name in LOSSES}
