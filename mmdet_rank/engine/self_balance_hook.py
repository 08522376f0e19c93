"""Tells aLRP's self-balance how long an epoch is."""

from __future__ import annotations

import math

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmdet_rank.criteria.balance import EpochBalance


@HOOKS.register_module()
class SelfBalanceHook(Hook):
    """Sets the period of every epoch self-balance to the iterations in which the data is seen once.

    Needed in the config of every model that is trained by aLRP Loss with its self-balance
    (thesis 7.3.2):

        default_hooks = dict(self_balance=dict(type="SelfBalanceHook"))

    (``custom_hooks`` is a list, which takes the place of that of a base config, EMA and all.)

    A period that the config gives is left alone. A training that is not resumed begins with the
    factor ``initial``, also from weights of another training by ``load_from``, whose sums of losses
    belong to other data.

    Raises:
        ValueError: Before training, if the data loader has no length and no period is given.
    """

    def before_train(self, runner: Runner) -> None:
        """Ask the data loader; see `EpochBalance`."""
        model = runner.model
        for name, module in model.named_modules():
            if not isinstance(module, EpochBalance):
                continue
            if runner.iter == 0:
                module.reset()
            if module.period is not None:
                continue
            try:
                module.period = _iterations_of_an_epoch(runner.train_dataloader)
            except TypeError as error:
                raise ValueError(
                    f"Expected a data loader with a length for {name}, but got one without; give "
                    "the iterations of an epoch: criterion=dict(balance=dict(type='epoch', "
                    "period=...))."
                ) from error
            runner.logger.info(f"{name}: self-balance every {module.period} iterations")


def _iterations_of_an_epoch(loader: DataLoader) -> int:
    # Batches of one's own may be drawn without one.
    sampler = getattr(loader.batch_sampler, "sampler", None)
    processes = getattr(sampler, "world_size", 1)
    # Infinite ones have the length of the whole data set in each of several processes.
    whole = processes > 1 and len(sampler) >= len(sampler.dataset)  # type: ignore[union-attr,arg-type]
    return math.ceil(len(loader) / (processes if whole else 1))
