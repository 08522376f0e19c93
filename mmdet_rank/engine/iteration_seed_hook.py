"""Hook that lets a resumed run draw the random numbers that an uninterrupted one would draw."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from mmdet.registry import HOOKS
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner
from torch.utils.data import BatchSampler, DataLoader

from mmdet_rank.engine.seeding import MAIN_PROCESS, SeededBatches, SeededCollate, seed_generators


@HOOKS.register_module()
class IterationSeedHook(Hook):
    """Seed every iteration from the seed of the run, the rank and the number of the iteration.

    MMEngine does not store the states of the random generators, so what is random in the pipeline
    or in the model differs after a resume. Seeded by iteration there is no state to store, and a
    checkpoint of any iteration will do, also one that was written without this hook.

    With loader workers, batches are seeded in the same way, by the number of the batch. For that,
    an epoch-based loop must not keep its workers between epochs (`persistent_workers=False`). An
    iteration-based loop may keep them: with a sampler that never ends it starts them once. With
    one that ends, kept workers go on counting by themselves from pass to pass: no two batches draw
    alike, and a resumed run, for which MMEngine loads all earlier batches again, draws what an
    uninterrupted one does if it has as many workers. So it is with any sampler in the loop of
    mmengine 0.10.7 and older, which starts its workers before any hook is called.
    """

    # After every other hook, so that none draws between the seeding and the iteration.
    priority = "VERY_LOW"

    def __init__(self) -> None:
        self._collate: SeededCollate | None = None

    def before_train(self, runner: Runner) -> None:
        """Take the loader's own random needs away from the global generator."""
        loader = runner.train_dataloader
        # A loader draws a number whenever it starts: once per run, hence once more when resumed.
        loader.generator = torch.Generator().manual_seed(runner.seed)
        batches = getattr(runner.train_loop, "dataloader_iterator", None)
        # mmengine 0.10.7 and older resume by loading all batches before.
        loads_all = not hasattr(batches, "skip_iter")
        if loader.num_workers > 0:
            self._collate = SeededCollate(loader.collate_fn, runner.seed, get_rank())
            loader.collate_fn = self._collate
            if loader.worker_init_fn is None:
                loader.worker_init_fn = self._collate.seed_next
            else:
                loader.worker_init_fn = partial(_init_worker, loader.worker_init_fn, self._collate)
            if batches is not None:
                number = 0 if loads_all else runner.iter
                numbered = _NumberedBatches(batches, loader, self._collate, number)
                runner.train_loop.dataloader_iterator = numbered
        elif batches is not None and loads_all:
            seeded = SeededBatches(batches, runner.seed, get_rank())
            runner.train_loop.dataloader_iterator = seeded

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed for the first iteration of the epoch, and tell the workers where it stands."""
        if self._collate is not None:
            self._collate.start = runner.iter
        self._seed(runner, runner.iter)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None):
        """Seed for the next iteration, whose batch may be loaded in this process."""
        self._seed(runner, runner.iter + 1)

    def after_val(self, runner: Runner) -> None:
        """Seed again: validation may have drawn, and a resumed run does not repeat it."""
        self._seed(runner, runner.iter)

    def _seed(self, runner: Runner, iteration: int) -> None:
        seed_generators(runner.seed, get_rank(), iteration, MAIN_PROCESS)


class _NumberedBatches:
    """The batches of an iteration-based loop, which tell workers that start where they start.

    MMEngine starts workers anew for every pass of a sampler that ends, also while it loads and
    drops what a resumed run has trained on: no hook is called in between.

    Args:
        batches: MMEngine's endless iterator over the loader.
        loader: The loader, whose workers copy ``collate`` when they start.
        collate: Its collate function.
        number: Of the first batch that is loaded, unless some are skipped.
    """

    def __init__(
        self, batches: Iterator, loader: DataLoader, collate: SeededCollate, number: int
    ) -> None:
        self._batches: Any = batches
        self._loader = loader
        self._collate = collate
        self._number = number

    def __iter__(self) -> _NumberedBatches:
        return self

    def __next__(self) -> Any:
        self._collate.start = self._number
        batch = next(self._batches)
        self._number += 1
        return batch

    def skip_iter(self, num_iters: int) -> None:
        """Go on after this number of batches, as MMEngine's iterator does."""
        if num_iters <= 0:
            return
        if _can_skip(self._loader):
            self._batches.skip_iter(num_iters)
            self._number = num_iters
            return
        print_log(
            f"The sampler of the training data cannot skip: the {num_iters} batches that have been "
            "trained on are loaded again and dropped.",
            logger="current",
            level=logging.WARNING,
        )
        self._number = 0
        for _ in range(num_iters):
            next(self)


def _can_skip(loader: DataLoader) -> bool:
    """Whether MMEngine skips batches of this loader by its sampler, and loads none of them."""
    batch_sampler = loader.batch_sampler
    if hasattr(loader.sampler, "skip"):
        return batch_sampler is not None
    # Others may take any number of samples for a batch.
    return type(batch_sampler) is BatchSampler and hasattr(batch_sampler.sampler, "skip")


def _init_worker(own: Callable[[int], None], collate: SeededCollate, worker_id: int) -> None:
    """Do what the config asks of a worker that starts, then seed for its first batch."""
    own(worker_id)
    collate.seed_next()
