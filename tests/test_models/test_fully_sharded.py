"""FSDP by MMEngine's FlexibleRunner: the weights of one process with the whole batch."""

import os
import tempfile

import pytest
import torch
import torch.distributed as dist
from processes import run_processes
from synthetic import make_batch

from configs import build_model, load_config

#: By loss, how the box loss is balanced.
BALANCES = {"RankSortLoss": "value", "aLRPLoss": dict(type="epoch", period=1, initial=1.0)}
STEPS = 2
LEARNING_RATE = 0.1
OBJECTS = (2, 0, 3, 1)


class Images(torch.utils.data.Dataset):
    """Synthetic images as a pipeline packs them."""

    def __init__(self):
        self.metainfo = dict(classes=tuple("0123456789"))
        images, self.samples = make_batch(OBJECTS, 10, 64)
        self.inputs = list((images * 40 + 120).byte())

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return dict(inputs=self.inputs[index], data_samples=self.samples[index])


def make_model(loss, sync):
    config = load_config("digits/rs-retinanet_r18_fpn_digits.py")
    # Batch statistics would depend on how the batch is cut.
    config.model.backbone.norm_eval = True
    config.model.bbox_head.loss_cls = dict(type=loss, sync=sync)
    config.model.bbox_head.criterion = dict(balance=BALANCES[loss])
    torch.manual_seed(0)
    return build_model(config)


def train_sharded(loss, folder):
    """This process's shards of the weights after some steps, by name."""
    from mmengine.runner import FlexibleRunner

    runner = FlexibleRunner(
        model=make_model(loss, sync=True),
        work_dir=str(folder),
        experiment_name=f"{loss}_{dist.get_rank()}",
        default_scope="mmdet",
        train_dataloader=dict(
            batch_size=2,
            num_workers=0,
            dataset=Images(),
            sampler=dict(type="DefaultSampler", shuffle=False),
            collate_fn=dict(type="pseudo_collate"),
        ),
        train_cfg=dict(by_epoch=False, max_iters=STEPS),
        optim_wrapper=dict(optimizer=dict(type="SGD", lr=LEARNING_RATE)),
        default_hooks=dict(checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=STEPS)),
        launcher="pytorch",
        strategy=dict(
            type="FSDPStrategy",
            # Without this, MMEngine takes the CUDA device of the process's number.
            model_wrapper=dict(type="MMFullyShardedDataParallel", device_id=torch.device("cpu")),
        ),
    )
    runner.train()
    model = runner.strategy.model
    assert type(model).__name__ == "MMFullyShardedDataParallel"
    return {
        name.removeprefix("_fsdp_wrapped_module."): parameter.detach().flatten().clone()
        for name, parameter in model.named_parameters()
    }


def work(rank, world_size):
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world_size))
    with tempfile.TemporaryDirectory() as folder:
        return {loss: train_sharded(loss, folder) for loss in BALANCES}


def train_alone(loss):
    model = make_model(loss, sync=False).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
    images = Images()
    batch = dict(inputs=images.inputs, data_samples=images.samples)
    for _ in range(STEPS):
        data = model.data_preprocessor(batch, training=True)
        total, _ = model.parse_losses(model.loss(data["inputs"], data["data_samples"]))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    return dict(model.named_parameters())


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    if not dist.is_available():
        pytest.skip("torch was built without torch.distributed")
    return run_processes(work, [2], tmp_path_factory.mktemp("fully_sharded"))[2]


@pytest.mark.parametrize("loss", BALANCES)
def test_weights_of_one_process(shards, loss):
    initial = dict(make_model(loss, sync=False).named_parameters())
    moved = []
    for name, expected in train_alone(loss).items():
        weights = torch.cat([shard[loss][name] for shard in shards]).view_as(expected)
        change, expected_change = weights - initial[name], expected - initial[name]
        error = (change - expected_change).norm()
        # Changes are differences of float32 weights: their digits end at those of the weights.
        bound = 1e-5 * expected_change.norm() + 1e-6 * initial[name].norm()
        assert error <= bound, f"{name}: {error:.2e} of {expected_change.norm():.2e}"
        moved.append(expected_change.norm() > 100 * bound)
    assert sum(moved) > len(moved) / 4  # what hardly moves would show no error
