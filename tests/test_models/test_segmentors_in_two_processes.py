"""Instance segmentors in two gloo processes, one of which sees no object."""

import os
import socket

import pytest
import torch
import torch.distributed as dist
from leaving import leave_processes
from processes import spawn
from torch.nn.parallel import DistributedDataParallel


class Loss(torch.nn.Module):
    """A segmentor whose forward is its loss, as data parallel training calls it."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images, samples):
        losses = self.model.loss(images, samples)
        return losses, self.model.parse_losses(losses)[0]


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def batch_of(rank):
    """Each process has two images; the second process's hold nothing."""
    from synthetic import make_batch

    return make_batch((2, 1) if rank == 0 else (0, 0), masks=True, seed=rank)


def run(rank, port):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    from dense_heads import LOSSES
    from instance_segmentors import SEGMENTORS

    for name in SEGMENTORS:
        for loss in LOSSES:
            check_keys_and_graph(name, loss, rank)
            check_synced_gradients(name, loss, rank)
    leave_processes()


def check_keys_and_graph(name, loss, rank):
    """Two steps; the second fails in DDP if a parameter had no gradient in the first."""
    from instance_segmentors import build_segmentor

    torch.manual_seed(0)
    model = DistributedDataParallel(Loss(build_segmentor(name, loss)))
    for _ in range(2):
        losses, total = model(*batch_of(rank))
        total.backward()
    keys = [None, None]
    dist.all_gather_object(keys, sorted(losses))
    assert keys[0] == keys[1], (name, loss)


def check_synced_gradients(name, loss, rank):
    """With sync, averaged gradients are those of one process on the whole batch.

    In float64, because sums of a network in float32 depend on how a batch is cut.
    """
    from instance_segmentors import build_segmentor

    # The balance of aLRP Loss has a state, and a test of its own.
    balance = dict(criterion=dict(balance="value")) if loss == "aLRPLoss" else {}
    torch.manual_seed(0)
    synced = Loss(build_segmentor(name, dict(type=loss, sync=True), **balance)).double()
    model = DistributedDataParallel(synced)
    images, samples = batch_of(rank)
    _, total = model(images.double(), samples)
    total.backward()
    single = Loss(build_segmentor(name, dict(type=loss), **balance)).double()
    single.load_state_dict(synced.state_dict())
    parts = [batch_of(process) for process in range(2)]
    images = torch.cat([images for images, _ in parts]).double()
    _, expected = single(images, parts[0][1] + parts[1][1])
    expected.backward()
    for (key, parameter), reference in zip(
        synced.named_parameters(), single.parameters(), strict=True
    ):
        error = (parameter.grad - reference.grad).norm() / reference.grad.norm().clamp(min=1e-8)
        assert error < 1e-5, f"{name}, {loss}, {key}: {error:.2e}"


def test_every_segmentor_and_loss():
    if not dist.is_available():
        pytest.skip("torch was built without torch.distributed")
    spawn(run, (free_port(),), 2)
