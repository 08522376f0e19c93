"""Instance segmentors in two gloo processes, one of which sees no object."""

import os
import socket

import pytest
import torch
import torch.distributed as dist
from leaving import leave_processes
from mmengine.model import BaseModel
from processes import spawn
from torch.nn.parallel import DistributedDataParallel


class YOLOv8Heads(torch.nn.Module):
    """YOLOv8's ranking heads of boxes and of masks, in the form of a segmentor, on given maps."""

    def __init__(self, loss, criterion):
        super().__init__()
        from mmdet.registry import MODELS
        from mmengine.config import ConfigDict
        from yolov8 import YOLOV8

        options = dict(type="RankYOLOv8SegHead", num_classes=4, num_protos=5, loss_cls=loss)
        self.box_head = MODELS.build(ConfigDict(YOLOV8 | options | dict(criterion=criterion)))
        self.mask_head = MODELS.build(
            dict(type="RankYOLOv8Protonet", in_channels=8, feat_channels=8, num_protos=5)
        )
        self.box_head.init_weights()

    def loss(self, images, samples):
        """Losses; each image is three maps of 8 channels, one beside the other."""
        features = [images[..., :16], images[..., :8, 16:24], images[..., :4, 24:]]
        losses = self.box_head.loss(features, samples)
        positives = self.box_head.get_positive_infos()
        return losses | self.mask_head.loss(features, samples, positive_infos=positives)

    parse_losses = BaseModel.parse_losses


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


def maps_of(rank):
    """The maps of `YOLOv8Heads` for the samples of `batch_of`."""
    generator = torch.Generator().manual_seed(rank)
    return torch.randn(2, 8, 16, 28, generator=generator)


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
    for loss in LOSSES:
        check_keys_and_graph("yolov8", loss, rank)
        check_synced_gradients("yolov8", loss, rank)
    leave_processes()


def build(name, loss, criterion=None):
    """A segmentor by its name, and the function that makes the images of a process."""
    from instance_segmentors import build_segmentor

    if name != "yolov8":
        return build_segmentor(name, loss, criterion=criterion), lambda rank: batch_of(rank)[0]
    if loss == "aLRPLoss":
        criterion = dict(balance=dict(type="epoch", period=3))
    heads = YOLOv8Heads(dict(type=loss) if isinstance(loss, str) else loss, criterion)
    for module in heads.modules():
        # Statistics of a batch depend on how it is cut.
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    return heads, maps_of


def check_keys_and_graph(name, loss, rank):
    """Two steps; the second fails in DDP if a parameter had no gradient in the first."""
    torch.manual_seed(0)
    segmentor, images = build(name, loss)
    model = DistributedDataParallel(Loss(segmentor))
    for _ in range(2):
        losses, total = model(images(rank), batch_of(rank)[1])
        total.backward()
    keys = [None, None]
    dist.all_gather_object(keys, sorted(losses))
    assert keys[0] == keys[1], (name, loss)


def check_synced_gradients(name, loss, rank):
    """With sync, averaged gradients are those of one process on the whole batch.

    In float64, because sums of a network in float32 depend on how a batch is cut.
    """
    # The balance of aLRP Loss has a state, and a test of its own.
    criterion = dict(balance="value") if loss == "aLRPLoss" else None
    torch.manual_seed(0)
    segmentor, images = build(name, dict(type=loss, sync=True), criterion)
    synced = Loss(segmentor).double()
    model = DistributedDataParallel(synced)
    _, total = model(images(rank).double(), batch_of(rank)[1])
    total.backward()
    single = Loss(build(name, dict(type=loss), criterion)[0]).double()
    single.load_state_dict(synced.state_dict())
    samples = [sample for process in range(2) for sample in batch_of(process)[1]]
    images = torch.cat([images(process) for process in range(2)]).double()
    _, expected = single(images, samples)
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
