"""How long an epoch is, and that the hook stands beside those of a base config."""

from types import SimpleNamespace

import pytest
import torch
from mmdet.datasets.samplers import AspectRatioBatchSampler, MultiSourceSampler
from mmengine.config import Config
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.logging import MMLogger
from torch import nn
from torch.utils.data import BatchSampler, ConcatDataset, DataLoader

from configs import CONFIGS
from mmdet_rank.criteria.balance import EpochBalance
from mmdet_rank.engine import SelfBalanceHook
from mmdet_rank.engine.self_balance_hook import _iterations_of_an_epoch


@pytest.mark.parametrize("sampler", [InfiniteSampler, DefaultSampler])
@pytest.mark.parametrize("batches", [BatchSampler, AspectRatioBatchSampler])
@pytest.mark.parametrize(("processes", "expected"), [(1, 26), (4, 7)])
def test_an_epoch_is_the_data_once_by_all_processes(
    monkeypatch, sampler, batches, processes, expected
):
    for module in ("mmengine.dataset.sampler", "mmengine.dist.utils"):
        monkeypatch.setattr(f"{module}.get_dist_info", lambda: (0, processes))
    # The processes would agree on a seed.
    data = list(range(205))
    batch_sampler = batches(sampler(data, seed=0), batch_size=8, drop_last=False)
    loader = DataLoader(data, batch_sampler=batch_sampler)
    model = nn.ModuleDict({"own": EpochBalance(), "given": EpochBalance(period=3)})
    logger = MMLogger.get_instance("test_self_balance_hook")
    for balance in model.values():
        balance.load_state_dict(
            {**EpochBalance(initial=3.0).state_dict(), "iterations": torch.tensor(2)}
        )
    run = SimpleNamespace(model=model, train_dataloader=loader, logger=logger, iter=9)
    SelfBalanceHook().before_train(run)
    assert (model["own"].period, model["given"].period) == (expected, 3)
    # Resumed it goes on; from weights of another training it begins.
    assert [(b.factor.item(), b.iterations.item(), b._seen) for b in model.values()] == [
        (3.0, 2, 2)
    ] * 2
    run.iter = 0
    SelfBalanceHook().before_train(run)
    assert [(b.factor.item(), b.iterations.item(), b._seen) for b in model.values()] == [
        (50.0, 0, 0)
    ] * 2


def test_semi_supervised_samplers_have_the_whole_length_too(monkeypatch):
    for module in ("mmdet.datasets.samplers.multi_source_sampler", "mmengine.dist.utils"):
        monkeypatch.setattr(f"{module}.get_dist_info", lambda: (0, 4))
    data = ConcatDataset([list(range(105)), list(range(100))])
    sampler = MultiSourceSampler(data, batch_size=8, source_ratio=[1, 3], seed=0)
    batches = BatchSampler(sampler, batch_size=8, drop_last=False)
    assert _iterations_of_an_epoch(DataLoader(data, batch_sampler=batches)) == 7


@pytest.mark.parametrize(
    "base", ["yolov8/rs-yolov8_n_8xb16-500e_coco.py", "rank_sort/rs-yolact_r50_4xb8-55e_coco.py"]
)
def test_hooks_of_a_base_config_stay(tmp_path, base):
    """As the documents write it: a list in custom_hooks would take the place of the base's."""
    file = tmp_path / "alrp.py"
    file.write_text(
        f"_base_ = {str(CONFIGS / base)!r}\n"
        "default_hooks = dict(self_balance=dict(type='SelfBalanceHook'))\n"
    )
    config, before = Config.fromfile(file), Config.fromfile(CONFIGS / base)
    assert config.custom_hooks == before.custom_hooks
    assert len(config.custom_hooks) > 0
    assert config.default_hooks == before.default_hooks | {
        "self_balance": {"type": "SelfBalanceHook"}
    }
