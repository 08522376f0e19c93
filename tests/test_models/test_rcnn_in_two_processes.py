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
    for name in ("mask", "cascade_mask"):
        check_synced_gradients(name, rank)
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


def check_synced_gradients(name, rank):
    """With sync, averaged gradients are those of one process on the whole batch."""
    from rcnn import build_detector, detector_config

    def build(sync):
        loss = dict(loss_cls=dict(type="RankSortLoss", sync=sync))
        mask_head = detector_config(name).roi_head.mask_head | dict(sync=sync)
        torch.manual_seed(0)
        detector = build_detector(name, rpn=loss, box=loss, mask_head=mask_head)
        # Statistics of a batch depend on how it is cut.
        detector.backbone.eval()
        return Loss(detector)

    synced, single = build(True), build(False)
    single.load_state_dict(synced.state_dict())
    model = DistributedDataParallel(synced)
    _, total = model(*batch_of(rank))
    total.backward()
    parts = [batch_of(part) for part in range(2)]
    images = torch.cat([part[0] for part in parts])
    _, expected = single(images, parts[0][1] + parts[1][1])
    expected.backward()
    for (key, parameter), reference in zip(
        synced.named_parameters(), single.parameters(), strict=True
    ):
        error = (parameter.grad - reference.grad).norm() / reference.grad.norm().clamp(min=1e-6)
        assert error < 1e-4, f"{name}, {key}: {error:.2e}"


def test_rcnns_in_two_processes():
    if not dist.is_available():
        pytest.skip("torch was built without torch.distributed")
    spawn(run, (free_port(),), 2)
