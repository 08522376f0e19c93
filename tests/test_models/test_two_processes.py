"""Heads in two gloo processes, one of which sees no object: ranking heads, and others with REG."""

import os
import socket
from functools import partial

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from leaving import leave_processes
from mmengine.model import BaseModel
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
        return losses, BaseModel.parse_losses(self, losses)[0]


class HeadAlone(HeadLoss):
    """A head whose forward returns the losses alone, as that of a detector."""

    def forward(self, features, samples):
        return self.head.loss(features, samples)


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


def ranking_heads():
    """By name, functions that build a ranking head; options of the loss, and of the head."""
    import dense_heads
    import yolov8

    for name in (*dense_heads.HEADS, *yolov8.HEADS):
        build = yolov8.build_head if name in yolov8.HEADS else dense_heads.build_head
        for loss in dense_heads.LOSSES:

            def head(name=name, build=build, loss=loss, loss_options=(), **options):
                options.setdefault("criterion", dict(balance=BALANCES[loss]))
                return build(name, loss_cls=dict(type=loss, **dict(loss_options)), **options)

            yield f"{name}, {loss}", loss, head


BALANCES = {"RankSortLoss": "value", "aLRPLoss": dict(type="epoch", period=3), "APLoss": "value"}


def reg_heads():
    """By name, functions that build a head with REGLoss, and with distances where it takes any."""
    from reg_heads import DENSE, build_dense, build_wrapped

    loss = dict(type="REGLoss", use_sigmoid=True, class_counts=[40, 30, 20, 10], beta=0.05, delta=9)
    for name in DENSE:
        if name == "YOLOXHead":  # It divides by the number of objects itself.
            yield name, partial(build_dense, name, loss | dict(reduction="sum"))
        else:
            yield name, partial(build_wrapped, name, loss)


#: Of MMDetection's heads those that count positives over all processes, and YOLOv8's.
COUNT_TOGETHER = ("ATSSHead", "GFLHead", "FCOSHead", "RTMDetSepBNHead", "YOLOv8Head")


def run(rank, port, failures):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    import mmdet_rank.register  # noqa: F401

    for name, loss, build in ranking_heads():
        check(failures, f"{name}, process {rank}", check_keys_and_graph, build, rank)
        balance = "value" if loss == "RankSortLoss" else "constant"

        def synced(build=build, balance=balance, **sync):
            return build(loss_options=sync, criterion=dict(balance=balance))

        check(failures, f"{name}, process {rank}", check_same_gradients, synced, rank, sync=True)
        if loss == "RankSortLoss":
            check(failures, f"{name}, process {rank}", check_static_graph, build, rank)
    for name, build in reg_heads():
        where = f"REG in {name}, process {rank}"
        # MMDetection's own leaves the boxes' branch out where there is no object.
        unused = name == "FoveaHead"
        check(failures, where, check_keys_and_graph, build, rank, find_unused_parameters=unused)
        if name in COUNT_TOGETHER:
            # Each process of the reference has all images, by whose number YOLOv8's is multiplied.
            times = 2 if name == "YOLOv8Head" else 1
            check(failures, where, check_same_gradients, build, rank, times=times)
    leave_processes()


def check(failures, name, function, *args, **options):
    """Call a check, and note the name of what fails."""
    try:
        function(*args, **options)
    except Exception as error:
        failures.append(f"{name}: {error!r}")
        raise


def check_keys_and_graph(build, rank, **options):
    """Two steps; the second fails in DDP if a parameter had no gradient in the first.

    Args:
        build: Of a head.
        rank: Of the process.
        options: Of DDP.
    """
    torch.manual_seed(0)
    model = DistributedDataParallel(HeadLoss(build()), **options)
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


def check_static_graph(build, rank):
    """Gradients are the same on both processes, also where DDP looks for its outputs itself.

    Args:
        build: Of a head.
        rank: Of the process.
    """
    torch.manual_seed(0)
    model = DistributedDataParallel(HeadAlone(build()), static_graph=True)
    for _ in range(2):
        BaseModel.parse_losses(model.module, model(*batch_of(rank)))[0].backward()
        for parameter in model.parameters():
            other = parameter.grad.clone()
            dist.broadcast(other, 0)
            assert torch.equal(other, parameter.grad)


def check_same_gradients(build, rank, times=1, **options):
    """Averaged gradients are those of one process on the whole batch.

    Args:
        build: Of a head.
        rank: Of the process.
        times: How many times the others' loss one process has on the whole batch.
        options: For the head that is trained in two processes.
    """
    torch.manual_seed(0)
    # Statistics of a batch depend on how it is cut.
    together = HeadLoss(without_batch_statistics(build(**options)))
    model = DistributedDataParallel(together)
    _, total = model(*batch_of(rank))
    total.backward()
    single = HeadLoss(without_batch_statistics(build()))
    single.load_state_dict(together.state_dict())
    _, expected = single(*whole_batch())
    expected.backward()
    for (key, parameter), reference in zip(
        together.named_parameters(), single.parameters(), strict=True
    ):
        own, other = times * parameter.grad, reference.grad
        error = (own - other).norm() / other.norm().clamp(min=1e-8)
        assert error < 1e-5, f"{key}: {error:.2e}"


def without_batch_statistics(head):
    """The head with its batch norms in evaluation."""
    for module in head.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    return head


def test_every_head_and_loss():
    if not dist.is_available():
        pytest.skip("torch was built without torch.distributed")
    with mp.Manager() as manager:
        failures = manager.list()
        try:
            spawn(run, (free_port(), failures), 2)
        except Exception as error:
            raise AssertionError(f"{list(failures)}: {error}") from None
