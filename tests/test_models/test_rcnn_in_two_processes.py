"""Two-stage detectors in two gloo processes, one of which sees no object."""

import os
import socket

import pytest
import torch
import torch.distributed as dist
from leaving import leave_processes
from processes import spawn
from torch import nn
from torch.nn.parallel import DistributedDataParallel


class Loss(nn.Module):
    """A detector whose forward is its loss, as data parallel training calls it."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images, samples):
        from rcnn import sum_of

        losses = self.model.loss(images, samples)
        return losses, sum_of(losses)


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
    for name, loss in (
        ("cascade_mask", "RankSortLoss"),
        ("cascade", "aLRPLoss"),
        ("mask", "RankSortLoss"),
        ("mask", "aLRPLoss"),
        ("faster", "APLoss"),
    ):
        check_keys_and_graph(name, loss, rank)
    check_keys_and_graph("cascade_mask", "RankSortLoss", rank, without_proposals=True)
    for name, loss in (
        ("mask", "RankSortLoss"),
        ("cascade_mask", "RankSortLoss"),
        ("mask", "aLRPLoss"),
        ("faster", "APLoss"),
    ):
        check_synced_gradients(name, loss, rank)
    leave_processes()


def check_keys_and_graph(name, loss, rank, without_proposals=False):
    """Two steps; the second fails in DDP if a parameter had no gradient in the first."""
    from rcnn import build_detector

    torch.manual_seed(0)
    detector = build_detector(name, loss)
    if without_proposals:
        detector.train_cfg.rpn_proposal.min_bbox_size = 1000
    model = DistributedDataParallel(Loss(detector))
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
    """With sync, averaged gradients are those of one process on the whole batch.

    In float64, because sums of a network in float32 depend on how a batch is cut.
    """
    from rcnn import build_detector, detector_config

    def build(sync):
        # The balance of aLRP Loss has a state, and a test of its own.
        balance = {"aLRPLoss": dict(criterion=dict(balance="value"))}.get(loss, {})
        heads = config.roi_head.bbox_head, config.rpn_head
        box, rpn = (dict(head.loss_cls, sync=sync) for head in heads)
        torch.manual_seed(0)
        detector = build_detector(
            name, loss, rpn=dict(loss_cls=rpn, **balance), box=dict(loss_cls=box, **balance)
        )
        # Statistics of a batch depend on how it is cut.
        detector.backbone.eval()
        return Loss(detector).double()

    config = detector_config(name, loss)
    synced, single = build(True), build(False)
    single.load_state_dict(synced.state_dict())
    model = DistributedDataParallel(synced)
    images, samples = batch_of(rank)
    _, total = model(images.double(), samples)
    total.backward()
    parts = [batch_of(part) for part in range(2)]
    images = torch.cat([part[0] for part in parts]).double()
    _, expected = single(images, parts[0][1] + parts[1][1])
    expected.backward()
    for (key, parameter), reference in zip(
        synced.named_parameters(), single.parameters(), strict=True
    ):
        error = (parameter.grad - reference.grad).norm() / reference.grad.norm().clamp(min=1e-6)
        assert error < 1e-5, f"{name}, {loss}, {key}: {error:.2e}"


def test_rcnns_in_two_processes():
    if not dist.is_available():
        pytest.skip("torch was built without torch.distributed")
    spawn(run, (free_port(),), 2)
