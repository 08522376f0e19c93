"""Heads in two gloo processes, one of which sees no object."""

import os
import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from leaving import leave_processes
from processes import spawn
from torch import nn
from torch.nn.parallel import DistributedDataParallel


class HeadLoss(nn.Module):
    """A head whose forward is its loss, as data parallel training calls it."""

    def __init__(self, head):
        super().__init__()
        self.head = head

    def forward(self, features, samples):
        losses = self.head.loss(features, samples)
        return losses, sum(value for key, value in losses.items() if "loss" in key)


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def batch_of(rank):
    """Each process has two images; the second process's hold nothing."""
    from synthetic import make_batch, make_features

    _, samples = make_batch((2, 1) if rank == 0 else (0, 0), seed=rank)
    return make_features(2, seed=rank), samples


def whole_batch():
    parts = [batch_of(rank) for rank in range(2)]
    features = tuple(torch.cat(level) for level in zip(*(p[0] for p in parts), strict=True))
    return features, parts[0][1] + parts[1][1]


def run(rank, port, failures):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    import mmdet_rank.register  # noqa: F401

    from dense_heads import HEADS, LOSSES

    for name in HEADS:
        for loss in LOSSES:
            try:
                check_keys_and_graph(name, loss, rank)
                check_synced_gradients(name, loss, rank)
            except Exception as error:
                failures.append(f"{name}, {loss}, process {rank}: {error!r}")
                raise
    leave_processes()


def check_keys_and_graph(name, loss, rank):
    """Two steps; the second fails in DDP if a parameter had no gradient in the first."""
    from dense_heads import build_head

    torch.manual_seed(0)
    model = DistributedDataParallel(HeadLoss(build_head(name, loss)))
    for _ in range(2):
        losses, total = model(*batch_of(rank))
        total.backward()
    keys = [None, None]
    dist.all_gather_object(keys, sorted(losses))
    assert keys[0] == keys[1]
    for parameter in model.parameters():
        other = parameter.grad.clone()
        dist.broadcast(other, 0)
        assert torch.equal(other, parameter.grad)


def check_synced_gradients(name, loss, rank):
    """With sync, averaged gradients are those of one process on the whole batch."""
    from dense_heads import build_head

    balance = dict(criterion=dict(balance="value" if loss == "RankSortLoss" else "constant"))
    torch.manual_seed(0)
    synced = HeadLoss(build_head(name, loss, loss_cls=dict(type=loss, sync=True), **balance))
    model = DistributedDataParallel(synced)
    _, total = model(*batch_of(rank))
    total.backward()
    single = HeadLoss(build_head(name, loss, **balance))
    single.load_state_dict(synced.state_dict())
    _, expected = single(*whole_batch())
    expected.backward()
    for (key, parameter), reference in zip(
        synced.named_parameters(), single.parameters(), strict=True
    ):
        error = (parameter.grad - reference.grad).norm() / reference.grad.norm().clamp(min=1e-8)
        assert error < 1e-5, f"{key}: {error:.2e}"


def test_every_head_and_loss():
    if not dist.is_available():
        pytest.skip("torch was built without torch.distributed")
    with mp.Manager() as manager:
        failures = manager.list()
        try:
            spawn(run, (free_port(), failures), 2)
        except Exception as error:
            raise AssertionError(f"{list(failures)}: {error}") from None
