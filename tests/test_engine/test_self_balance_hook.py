"""How long an epoch is, and that the hook stands beside those of a base config."""

from types import SimpleNamespace

import pytest
from mmdet.datasets.samplers import AspectRatioBatchSampler
from mmengine.config import Config
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.logging import MMLogger
from torch import nn
from torch.utils.data import BatchSampler, DataLoader

from configs import CONFIGS
from mmdet_rank.criteria.balance import EpochBalance
from mmdet_rank.engine import SelfBalanceHook


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
    SelfBalanceHook().before_train(
        SimpleNamespace(model=model, train_dataloader=loader, logger=logger)
    )
    assert (model["own"].period, model["given"].period) == (expected, 3)


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
